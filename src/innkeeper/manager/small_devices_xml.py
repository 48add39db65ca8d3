"""Folders, vsock, balloon, screen card, input devices, serial lines and consoles in libvirt's XML ⇄ their configuration.

Spec: libvirt's "Domain XML format". Where libvirt's tools ask for a device that is not here, and another does what it is for, that one
stands in: `stand_ins` says so.
"""

from pathlib import Path
from xml.etree import ElementTree as ET

from innkeeper.config import (
    BalloonConfig,
    ConsoleConfig,
    ConsoleKind,
    FilesystemConfig,
    InputKind,
    MachineConfig,
    VideoModel,
    VsockConfig,
)
from innkeeper.config.vsock import CID_MINIMUM
from innkeeper.errors import ConfigError
from innkeeper.manager.elements import Element, attribute, whole, yes

VSOCK = Path("vsock")
"""In the folder of the machine, once it runs."""
SHARED_BY = ("path", "handle", "loop")
RANDOM = ("random", "builtin")
LIKE_VGA = ("vga", "bochs", "cirrus", "qxl", "vmvga")
BALLOONS = ("virtio", "virtio-transitional", "virtio-non-transitional")
AGENT = "org.qemu.guest_agent.0"
"""The name of the channel that QEMU's guest agent listens at."""
HERE = ConsoleConfig(kind=ConsoleKind.NONE)
"""A serial line that nothing is said about: the manager keeps it, for `inn console`."""


def read_filesystem(part: Element) -> FilesystemConfig:
    target = attribute(part, "target", "dir") or ""
    driver = attribute(part, "driver", "type")
    if part.get("type", "mount") != "mount" or driver not in (None, *SHARED_BY):
        how = driver if driver not in (None, *SHARED_BY) else part.get("type")
        raise ConfigError(f"filesystem {target} is of type {how}; folders are shared by 9p here, which is type mount")
    source = attribute(part, "source", "dir")
    if not source:
        raise ConfigError(f"filesystem {target} has no <source dir=…>; say which folder")
    return FilesystemConfig(source=Path(source), target=target, readonly=part.find("readonly") is not None)


def write_filesystem(filesystem: FilesystemConfig) -> Element:
    part = ET.Element("filesystem", type="mount", accessmode="squash")
    ET.SubElement(part, "source", dir=str(filesystem.source))
    ET.SubElement(part, "target", dir=filesystem.target)
    if filesystem.readonly:
        ET.SubElement(part, "readonly")
    return part


def read_vsock(part: Element) -> VsockConfig:
    """Guests of different machines cannot meet: each may have the same address."""
    address = attribute(part, "cid", "address")
    chosen = address is not None and not yes(attribute(part, "cid", "auto"))
    return VsockConfig(path=VSOCK, cid=whole(address or "", "the address of <vsock>") if chosen else CID_MINIMUM)


def write_vsock(vsock: VsockConfig) -> Element:
    part = ET.Element("vsock", model="virtio")
    ET.SubElement(part, "cid", auto="no", address=str(vsock.cid))
    return part


def read_rng(devices: Element) -> bool:
    parts = devices.findall("rng")
    for part in parts:
        model = attribute(part, "backend", "model") or "random"
        if model not in RANDOM:
            raise ConfigError(f"an <rng> has a backend {model!r}; backends here are {' and '.join(RANDOM)}")
    return bool(parts)


def read_balloon(devices: Element, memory_mib: int, current_mib: int) -> BalloonConfig | None:
    """There is one unless the document says that there is none, as in libvirt."""
    part = devices.find("memballoon")
    part = ET.Element("memballoon", model="virtio") if part is None else part
    if part.get("model") not in BALLOONS:
        return None
    return BalloonConfig(
        memory_mib=current_mib if current_mib < memory_mib else None,
        deflate_on_oom=part.get("autodeflate") != "off",
    )


def write_balloon(balloon: BalloonConfig | None) -> Element:
    if balloon is None:
        return ET.Element("memballoon", model="none")
    return ET.Element(
        "memballoon", model="virtio", autodeflate="on" if balloon.deflate_on_oom else "off", freePageReporting="on"
    )


def read_video(devices: Element, *, firmware: bool) -> VideoModel | None:
    """Firmware shows itself on a VGA only: it stands in for a card that would come to life later."""
    kind = attribute(devices, "video/model", "type")
    if kind is None:
        return None
    if kind == "virtio":
        return VideoModel.VGA if firmware else VideoModel.VIRTIO
    if kind == "none":
        return VideoModel.NONE
    if kind in LIKE_VGA:
        return VideoModel.VGA
    raise ConfigError(f"<video> has a model {kind!r}; models here are vga, virtio and none")


def read_inputs(devices: Element) -> tuple[InputKind, ...]:
    """What is on PS/2 is there in any case. For a tablet on USB, one on virtio stands in."""
    found: dict[InputKind, None] = {}
    for part in devices.findall("input"):
        kind, bus = part.get("type", "mouse"), part.get("bus", "ps2")
        if bus in ("virtio", "usb") and kind == "tablet":
            found[InputKind.TABLET] = None
        elif bus == "virtio" and kind == "keyboard":
            found[InputKind.KEYBOARD] = None
        elif bus == "virtio" or kind in ("passthrough", "evdev"):
            raise ConfigError(
                f"<input> is a {kind} on bus {bus}; on virtio there are keyboard and tablet, and a mouse on ps2"
            )
    return tuple(found)


def read_consoles(devices: Element) -> tuple[ConsoleConfig, tuple[ConsoleConfig, ...]]:
    """Where the serial line goes, and the virtio consoles."""
    serials = devices.findall("serial")
    if len(serials) > 1:
        raise ConfigError(f"the domain has {len(serials)} serial ports; machines here have one")
    others = [part for part in devices.findall("console") if attribute(part, "target", "type") == "virtio"]
    console = read_line(serials[0], "the serial port") if serials else HERE
    return console, tuple(read_line(part, "a virtio console", pty=ConsoleKind.PTY) for part in others)


def read_line(part: Element, place: str, *, pty: ConsoleKind = ConsoleKind.NONE) -> ConsoleConfig:
    kind = part.get("type", "pty")
    path = attribute(part, "source", "path")
    if kind == "pty":
        return ConsoleConfig(kind=pty)
    if kind == "file" and path:
        append = yes(attribute(part, "source", "append"))
        return ConsoleConfig(kind=ConsoleKind.FILE, path=Path(path), append=append)
    if kind == "unix" and path and attribute(part, "source", "mode") in (None, "bind"):
        return ConsoleConfig(kind=ConsoleKind.UNIX, path=Path(path))
    raise ConfigError(
        f"{place} is of type {kind!r}{'' if kind not in ('file', 'unix') else ' without a path to listen at'}; "
        "it can be pty, file with a path, or unix with a path and mode bind"
    )


def read_agent(devices: Element) -> bool:
    """Whether there is a channel for QEMU's guest agent."""
    return any(part.get("name") == AGENT and part.get("type") == "virtio" for part in devices.findall("channel/target"))


def write_consoles(machine: MachineConfig) -> list[Element]:
    console = machine.console
    port, first = write_line("serial", console), write_line("console", console)
    ET.SubElement(port, "target", port="0")
    ET.SubElement(first, "target", type="serial", port="0")
    parts = [port, first]
    for number, line in enumerate(machine.virtio_consoles, 1):
        part = write_line("console", line)
        ET.SubElement(part, "target", type="virtio", port=str(number))
        parts.append(part)
    return parts


def write_line(tag: str, line: ConsoleConfig) -> Element:
    kinds = {ConsoleKind.FILE: "file", ConsoleKind.UNIX: "unix"}
    part = ET.Element(tag, type=kinds.get(line.kind, "pty"))
    if line.path is not None:
        source = ET.SubElement(part, "source", path=str(line.path))
        if line.kind is ConsoleKind.UNIX:
            source.set("mode", "bind")
        if line.append:
            source.set("append", "on")
    return part


def stand_ins(root: Element) -> list[str]:
    """Which devices are others here than the document says."""
    found = []
    kind = attribute(root, "devices/video/model", "type")
    if kind in LIKE_VGA[1:] or (kind == "virtio" and root.find("os/kernel") is None):
        found.append(f"devices/video/model type={kind} (a vga stands in)")
    for part in root.findall("devices/input"):
        if part.get("bus") == "usb":
            instead = "a tablet on virtio stands in" if part.get("type") == "tablet" else "PS/2 has it"
            found.append(f"devices/input type={part.get('type')} bus=usb ({instead})")
    for part in root.findall("devices/channel"):
        name = attribute(part, "target", "name")
        if name != AGENT:
            found.append(f"devices/channel name={name} (only {AGENT} is served)")
    cpu = root.find("cpu")
    if cpu is not None and cpu.findtext("model") is not None and not cpu.get("mode", "").startswith("host-"):
        found.append(f"cpu/model {(cpu.findtext('model') or '').strip()} (the engine's own processor stands in)")
    return found
