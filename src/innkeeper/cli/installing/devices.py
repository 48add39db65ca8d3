"""virt-install's device options → configuration. Raises `ConfigError` for what a machine here cannot have."""

import argparse
import re
from dataclasses import replace
from pathlib import Path

from innkeeper.cli.installing.host import whole
from innkeeper.cli.installing.steps import REMOTE
from innkeeper.cli.installing.words import quoted, renamed, taken
from innkeeper.config import (
    BalloonConfig,
    ConsoleConfig,
    ConsoleKind,
    DiskConfig,
    FilesystemConfig,
    GraphicsConfig,
    InputKind,
    KeyValues,
    NetworkConfig,
    VideoModel,
    VsockConfig,
)
from innkeeper.config.graphics import GraphicsKind
from innkeeper.config.keyvalue import NO
from innkeeper.config.network import NetworkKind
from innkeeper.errors import ConfigError
from innkeeper.manager.installation.order import Wanted
from innkeeper.manager.small_devices_xml import AGENT, HERE, VSOCK

DISK_NAMES = {
    "target.bus": "bus",
    "driver.type": "format",
    "driver_type": "format",
    "driver.cache": "cache",
    "driver.discard": "discard",
    "driver.detect_zeroes": "detect_zeroes",
    "source.file": "path",
    "source.dev": "path",
    "boot_order": "boot.order",
}
NETWORK_NAMES = {
    "model.type": "model",
    "mac.address": "mac",
    "link.state": "link",
    "link_state": "link",
    "mtu.size": "mtu",
}
OLD_SOURCE = re.compile(r"(bridge|network):([^,]+)")
"""How virt-install named a card's source once, and still takes it."""
SPICE = "spice cannot be had; its words are for --graphics vnc"
ROOT_MODES = ("squash", "passthrough")
CID_LIMIT = (1 << 32) - 2


def disk(text: str) -> Wanted:
    """With whole paths. Where no path, pool or volume is named, it is in the default pool."""
    pairs: dict[str, str] = {}
    for number, word in enumerate(KeyValues("--disk", "").words(text)):
        key, equals, value = word.partition("=")
        if not equals and number:
            raise ConfigError(f"--disk holds {word!r}, which is not of the form key=value")
        key, value = (DISK_NAMES.get(key, key), value) if equals else ("path", word)
        if key in pairs:
            raise ConfigError(f"--disk gives {key} twice")
        pairs[key] = value
    if "source.volume" in pairs:
        pairs["vol"] = f"{pairs.pop('source.pool', 'default')}/{pairs.pop('source.volume')}"
    if REMOTE.match(pairs.get("path", "")):
        raise ConfigError(
            f"--disk has path={pairs['path']}, an address; it must be a file of this host: fetch it first"
        )
    pool, vol = pairs.pop("pool", None), pairs.pop("vol", None)
    if "path" in pairs and (pool, vol) != (None, None):
        raise ConfigError("--disk has both a path and a pool's volume; give one of them")
    for key, (fine, why) in FIXED.items():
        value = pairs.pop(key, fine[0])
        if value not in fine:
            raise ConfigError(f"--disk has {key}={value}; {why}")
    return somewhere(pairs, pool, vol)


def somewhere(pairs: dict[str, str], pool: str | None, vol: str | None) -> Wanted:
    unplaced = (pool, vol) == (None, None)
    named = "path" in pairs or (unplaced and pairs.get("device") == "cdrom")
    words = pairs if named else pairs | {"path": UNNAMED}
    config = DiskConfig.parse(",".join(f"{key}={quoted(value)}" for key, value in words.items()))
    if not named and vol is None and config.size_gib is None:
        raise ConfigError("--disk has neither a path nor a size; say which file, or size=GIB to have one made")
    return Wanted(disk=whole(config), pool=DEFAULT if unplaced and not named else pool, vol=vol)


UNNAMED = "?"
"""The path of a disk whose place is yet to be found."""
DEFAULT = "default"
"""The pool that exists by itself."""
FIXED = {
    "shareable": (NO, "a disk here is locked by the machine that writes to it"),
    "io": (("threads",), "it can be threads"),
    "driver.io": (("threads",), "it can be threads"),
    "driver.name": (("qemu", "innkeeper"), "it can be left out"),
    "error_policy": (("report",), "an error of the host is told to the guest: report"),
    "driver.error_policy": (("report",), "an error of the host is told to the guest: report"),
}
"""What a disk may say only as it is."""


def networks(arguments: argparse.Namespace) -> tuple[NetworkConfig, ...]:
    if arguments.nonetworks or arguments.network == ["none"]:
        return ()
    if not arguments.network:
        return (NetworkConfig(kind=NetworkKind.USER),)
    return tuple(network(text) for text in arguments.network)


def network(text: str) -> NetworkConfig:
    if text == "none":
        raise ConfigError("--network is none, and given more than once; leave out the others, or this one")
    text = OLD_SOURCE.sub(r"\1=\2", text, count=1) if OLD_SOURCE.match(text) else text
    text = f"network={text}" if text.partition(",")[0] == "default" else text
    named = renamed("--network", text, NETWORK_NAMES)
    words = [word for word in named.split(",") if word.upper() != "MAC=RANDOM"]
    kinds = dict(word.split("=", 1) for word in words if "=" in word)
    if kinds.get("type") in ("bridge", "network") and "source" in kinds:
        words = [w for w in words if not w.startswith(("type=", "source="))] + [f"{kinds['type']}={kinds['source']}"]
    if kinds.get("type") == "direct" or ("source" in kinds and "type" not in kinds):
        raise ConfigError(f"--network is {text!r}; macvtap cannot be had: give bridge=NAME, or user")
    card = NetworkConfig.parse(",".join(words))
    return replace(card, tftp=card.tftp.absolute()) if card.tftp is not None else card


def graphics(arguments: argparse.Namespace) -> tuple[GraphicsConfig, ...]:
    given = list(arguments.graphics)
    given += ["none"] if arguments.nographics else []
    where = [f"{key}={value}" for key, value in (("port", arguments.vncport), ("listen", arguments.vnclisten)) if value]
    given += [",".join(["vnc", *where])] if arguments.vnc or where or not given else []
    found = []
    for text in given:
        if text.partition(",")[0].removeprefix("type=") in ("spice", "sdl", "egl-headless", "rdp"):
            raise ConfigError(
                f"--graphics is {text!r}; {SPICE if text.startswith('spice') else 'it can be vnc or none'}"
            )
        if {"listen=none", "listen=socket"} & set(text.split(",")):
            raise ConfigError(f"--graphics is {text!r}; to listen at no address, give socket=PATH")
        found.append(GraphicsConfig.parse(text))
    if any(one.kind is GraphicsKind.TERMINAL for one in found):
        raise ConfigError("--graphics is terminal, which inn run has; kept machines are shown by vnc")
    return tuple(one for one in found if one.kind is not GraphicsKind.NONE)


def video(text: str | None) -> VideoModel | None:
    if text is None:
        return None
    model = taken("--video", text, "model", "model.type", first="model")
    kind = model.get("model") or model.get("model.type") or ""
    if kind in ("default", "bochs"):
        return VideoModel.VGA
    if kind not in list(VideoModel):
        raise ConfigError(f"--video is {kind!r}; it can be {', '.join(VideoModel)}")
    return VideoModel(kind)


def filesystem(text: str) -> FilesystemConfig:
    named = renamed(
        "--filesystem",
        text,
        {"source.dir": "source", "target.dir": "target", "mode": "accessmode"},
        ("source", "target"),
    )
    pairs = KeyValues("--filesystem", named)
    mode, kind, driver = pairs.text("accessmode"), pairs.text("type"), pairs.text("driver.type")
    if mode not in (None, *ROOT_MODES):
        raise ConfigError(
            f"--filesystem has accessmode={mode}; it can be {' or '.join(ROOT_MODES)}: files are this user's"
        )
    if kind not in (None, "mount") or driver not in (None, "path"):
        raise ConfigError(
            f"--filesystem is of type {driver or kind}; folders are shared by 9p here, which is type mount"
        )
    source, target, readonly = pairs.text("source"), pairs.text("target"), pairs.flag("readonly")
    pairs.finish()
    if not source or not target:
        raise ConfigError("--filesystem needs a folder and a name to mount it by, as in --filesystem /srv/files,files")
    return FilesystemConfig(source=Path(source).absolute(), target=target, readonly=bool(readonly))


def serial(texts: list[str]) -> ConsoleConfig:
    if len(texts) > 1:
        raise ConfigError(f"--serial is given {len(texts)} times; machines here have one serial port")
    return line("--serial", texts[0]) if texts else HERE


SOURCE_NAMES = {"source.path": "path", "source.mode": "mode", "source.append": "append"}


def line(option: str, text: str, *, pty: ConsoleKind = ConsoleKind.NONE) -> ConsoleConfig:
    """The host's end of a serial port or console."""
    pairs = KeyValues(option, renamed(option, text, SOURCE_NAMES), first="type")
    kind, path, mode, append = pairs.text("type"), pairs.text("path"), pairs.text("mode"), pairs.flag("append")
    pairs.text("target.type")
    pairs.text("target_type")
    if kind == "pty" and path is None:
        pairs.finish()
        return ConsoleConfig(kind=pty)
    if kind not in ("file", "unix") or not path or mode not in (None, "bind"):
        raise ConfigError(f"{option} is {text!r}; it can be pty, file,path=FILE, or unix,path=SOCKET to listen at")
    pairs.finish()
    return ConsoleConfig(kind=ConsoleKind(kind), path=Path(path).absolute(), append=bool(append))


def consoles(texts: list[str]) -> tuple[ConsoleConfig, ...]:
    """Those on virtio; the one on the serial port is there in any case."""
    found = []
    for text in texts:
        pairs = KeyValues("--console", text, first="type")
        kind = pairs.text("target.type") or pairs.text("target_type") or "serial"
        if kind not in ("serial", "virtio"):
            raise ConfigError(f"--console has target.type={kind}; it can be serial or virtio")
        if kind == "virtio":
            found.append(line("--console", text, pty=ConsoleKind.PTY))
        elif pairs.text("type") != "pty":
            raise ConfigError(f"--console is {text!r}; where the serial port goes is for --serial to say")
    return tuple(found)


def agent(texts: list[str]) -> bool:
    """Whether there is a channel for QEMU's guest agent: it is the only one that is served, and there unless it is not wanted."""
    for text in texts:
        pairs = KeyValues("--channel", text, first="type")
        kind, name = pairs.text("type"), pairs.text("target.name") or pairs.text("name")
        bus = pairs.text("target.type") or pairs.text("target_type") or "virtio"
        mode = pairs.text("source.mode") or pairs.text("mode") or "bind"
        pairs.finish()
        if kind == "none":
            return False
        if (kind, bus, name, mode) != ("unix", "virtio", AGENT, "bind"):
            raise ConfigError(
                f"--channel is {text!r}; the only channel here is unix,target.type=virtio,target.name={AGENT}; --vsock and "
                "--console are other ways to a guest"
            )
    return True


def inputs(texts: list[str]) -> tuple[InputKind, ...]:
    found = []
    for text in texts:
        pairs = KeyValues("--input", text, first="type")
        kind, bus = pairs.text("type"), pairs.text("bus")
        pairs.finish()
        if bus == "ps2" and kind in ("keyboard", "mouse"):
            continue  # there in any case
        if kind not in list(InputKind) or bus not in (None, "virtio"):
            raise ConfigError(
                f"--input is {text!r}; it can be tablet or keyboard on bus=virtio, and keyboard or mouse on ps2"
            )
        found.append(InputKind(kind))
    return tuple(found)


def rng(texts: list[str]) -> bool:
    for text in texts:
        kind = text.split(",")[0].removeprefix("type=").removeprefix("backend.model=")
        if text != kind or kind not in ("/dev/urandom", "/dev/random", "random", "builtin", "none"):
            raise ConfigError(f"--rng is {text!r}; it can be /dev/urandom, builtin or none")
    return texts != ["none"]


def balloon(text: str | None, current_mib: int | None) -> BalloonConfig | None:
    if text == "none":
        if current_mib is not None:
            raise ConfigError(
                "--memory has less than all as currentMemory, which needs a balloon; leave out --memballoon none"
            )
        return None
    model = taken("--memballoon", text, "model", "autodeflate", first="model") if text is not None else {}
    if model.get("model", "virtio") not in ("virtio", "default"):
        raise ConfigError(f"--memballoon is {text!r}; it can be virtio or none")
    return BalloonConfig(memory_mib=current_mib, deflate_on_oom=model.get("autodeflate") not in ("off", "no"))


def vsock(text: str | None) -> VsockConfig | None:
    if text is None or text == "none":
        return None
    pairs = KeyValues("--vsock", renamed("--vsock", text, {"auto_cid": "cid.auto", "cid": "cid.address"}))
    auto, address, model = pairs.flag("cid.auto"), pairs.whole("cid.address", 3, CID_LIMIT), pairs.text("model")
    pairs.finish()
    if model not in (None, "virtio"):
        raise ConfigError(f"--vsock has model={model}; it can be virtio")
    if not auto and address is None:
        raise ConfigError("--vsock has neither cid.auto=yes nor cid.address=N; give one")
    return VsockConfig(path=VSOCK) if address is None else VsockConfig(path=VSOCK, cid=address)
