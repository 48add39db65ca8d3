"""Opens what a card's cable leads to: the built-in network, passt, a tap interface, a bridge.

Where a bridge needs rights that this process has not, it takes a tap that root made for its user; without one, the built-in network, and
says so.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import field, replace
from typing import TYPE_CHECKING

from innkeeper.config import NetworkConfig, NetworkKind, UserBackend
from innkeeper.errors import HostError
from innkeeper.net import boot_files
from innkeeper.records import dataclass

if TYPE_CHECKING:
    from innkeeper import _core

NEW_TAP = "inn%d"  # the host fills in a number
REFUSALS = (errno.EPERM, errno.EACCES)


@dataclass(frozen=True, slots=True)
class Opened:
    """A link, what it is in words, and what else ends with it."""

    link: _core.NetLink
    described: str
    helpers: list[Callable[[], None]] = field(default_factory=list)
    note: str = ""  # that the cable leads elsewhere than was asked for, and what to do about it

    def close(self) -> None:
        self.link.close()
        for end in self.helpers:
            end()


def open_link(config: NetworkConfig, mac: bytes, host_name: str | None = None) -> Opened:
    """Raises `HostError`."""
    if config.kind is NetworkKind.TAP:
        return open_tap(config.name)
    if config.kind is NetworkKind.BRIDGE:
        return open_bridge(config, mac, host_name)
    if config.kind is NetworkKind.NETWORK:
        return open_bridge(replace(config, kind=NetworkKind.BRIDGE, name=bridge_of(config.name)), mac, host_name)
    if config.backend is UserBackend.PASST:
        return open_passt(config)
    opened = open_user(config, mac, host_name)
    if not config.name:
        return opened
    step = f"sudo inn net-start {config.name}"
    return noted(opened, f"in place of network {config.name}, which is not active, and which root starts: {step}")


def open_user(config: NetworkConfig, mac: bytes, host_name: str | None) -> Opened:
    from innkeeper._core import NetLink

    forwards = [(it.udp, it.host, it.port, it.guest_port) for it in config.forwards]
    if config.tftp is not None and not config.tftp.is_dir():
        raise HostError(f"there is no folder {config.tftp} to boot from by tftp; make it, or name another with tftp=")
    try:
        link = NetLink.user(
            mac,
            loopback=config.loopback,
            name_servers=list(config.name_servers),
            host_name=host_name,
            forwards=forwards,
            boot=(str(config.tftp) if config.tftp is not None else None, config.bootfile or None, boot_files.known()),
        )
    except OSError as error:
        raise refused_forward(error) from error
    listening = [
        f"{host}:{port} leads to the guest's port {it.guest_port}{' (udp)' if it.udp else ''}"
        for (host, port), it in zip(link.forwarded, config.forwards, strict=True)
    ]
    return Opened(link, "; ".join(["user, by the built-in address translation", *listening, *serves(config)]))


def serves(config: NetworkConfig) -> list[str]:
    """What a guest finds that boots from the network, in words."""
    if config.tftp is None or config.bootfile:
        return [f"guests boot from {config.tftp or config.bootfile}"] if config.tftp or config.bootfile else []
    bios, uefi = (boot_files.first_in(config.tftp, uefi=uefi) for uefi in (False, True))
    if bios is None and uefi is None:
        return [f"{config.tftp} has no boot file that is known: say with bootfile= which it is"]
    return [f"guests boot from {config.tftp}: {', '.join(name for name in (bios, uefi) if name is not None)}"]


def refused_forward(error: OSError) -> HostError:
    why = errno_words(error)
    if not error.strerror:
        return HostError(f"cannot start the built-in network: {why}")
    port = error.strerror.rpartition(":")[2]
    if error.errno in REFUSALS:
        return HostError(
            f"cannot forward from {error.strerror}: {why}; ports below 1024 are root's, take another than {port}"
        )
    return HostError(f"cannot forward from {error.strerror}: {why}; choose another port, or end what listens there")


def errno_words(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)


def open_passt(config: NetworkConfig) -> Opened:
    from innkeeper._core import NetLink
    from innkeeper.net import passt

    process = passt.start(config.forwards)
    try:
        link = NetLink.stream(process.take_socket())
    except OSError as error:
        process.close()
        raise HostError(f"cannot use the connection to passt: {errno_words(error)}") from error
    return Opened(link, f"user, by {process.version}", [process.close])


def open_tap(name: str) -> Opened:
    from innkeeper._core import NetLink

    there = is_there(name)
    try:
        link = NetLink.tap(name, None)
    except OSError as error:
        raise refused_tap(error, f"tap interface {name}", "attach" if there else "make", name) from error
    return Opened(link, f"tap interface {link.name}{'' if there else ', made for this run'}")


def bridge_of(network: str) -> str:
    """Of a network that is active on this host. Raises `HostError` for any other."""
    from innkeeper.net.host import realise, records

    record = records.read(network)
    if record is None or not realise.is_active(record):
        raise HostError(f"network {network} is not active; inn net-start {network} starts it")
    return record.bridge


def open_bridge(config: NetworkConfig, mac: bytes, host_name: str | None) -> Opened:
    from innkeeper._core import NetLink
    from innkeeper.net.host import realise, taps

    bridge = config.name
    make = f"inn net create {bridge} --address 10.0.2.1/24"
    if not is_there(bridge):
        if realise.may_change():
            raise HostError(f"cannot join bridge {bridge}, which is not there; make it with: {make}")
        return instead_of(config, mac, host_name, f"which is not there, and which root makes: sudo {make}")
    try:
        link = NetLink.tap(NEW_TAP, bridge)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise refused_tap(error, f"bridge {bridge}", "join", bridge) from error
    else:
        opened = Opened(link, f"bridge {bridge}, through {link.name}")
        try:
            taps.match(str(link.name), bridge)
        except BaseException:
            opened.close()
            raise
        return opened
    user = os.geteuid()
    for name in taps.owned(bridge, user):
        try:
            link = NetLink.tap(name, None)
        except OSError as error:
            if error.errno == errno.EBUSY:
                continue  # another machine's
            raise refused_tap(error, f"tap interface {name}", "attach", name) from error
        return Opened(link, f"bridge {bridge}, through {link.name}, which root made for this user")
    return instead_of(
        config, mac, host_name, f"where this user has no free tap; once: sudo inn net tap {bridge} --user {user}"
    )


def instead_of(config: NetworkConfig, mac: bytes, host_name: str | None, why: str) -> Opened:
    """The built-in network in a bridge's place. Raises `HostError` where that would lead where the bridge does not."""
    from innkeeper.net.host import records

    if any(record.bridge == config.name and record.mode == "none" for record in records.every()):
        raise HostError(
            f"cannot join bridge {config.name}, {why}; its network is isolated, so nothing else can take its place"
        )
    return noted(open_user(NetworkConfig(), mac, host_name), f"in place of bridge {config.name}, {why}")


def noted(opened: Opened, instead: str) -> Opened:
    return replace(
        opened, described=f"{opened.described}, {instead}", note=f"a card is on the built-in network, {instead}"
    )


def is_there(interface: str) -> bool:
    """In this process's own network namespace, which /sys may not show."""
    return any(name == interface for _, name in socket.if_nameindex())


def refused_tap(error: OSError, what: str, verb: str, name: str) -> HostError:
    """One sentence with the next step."""
    why = errno_words(error)
    if error.strerror == "open":
        return HostError(
            f"cannot open /dev/net/tun: {why}; tap and bridge need it: modprobe tun, or use --network user"
        )
    if error.errno in REFUSALS:
        step = (
            f"have root run: ip tuntap add {name} mode tap user $USER"
            if verb != "join"
            else ("have root make a tap interface on it, and use tap=NAME")
        )
        return HostError(f"cannot {verb} {what}: that needs CAP_NET_ADMIN; {step}")
    if error.errno == errno.EOPNOTSUPP and error.strerror == "bridge":
        return HostError(f"cannot {verb} {what}: it is no bridge; bridge=NAME takes the name of one")
    if error.errno == errno.EBUSY:
        return HostError(f"cannot {verb} {what}: another program has it; give each machine a tap interface of its own")
    if error.errno == errno.EINVAL and error.strerror == "attach":
        return HostError(f"cannot {verb} {what}: it is no tap interface, or one of several queues; take another name")
    return HostError(f"cannot {verb} {what}: {why} ({error.strerror})")
