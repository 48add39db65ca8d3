"""rtnetlink: interfaces, addresses and routes of the network namespace that this process is in.

Spec: rtnetlink(7), netlink(7), linux/rtnetlink.h, linux/if_link.h. Only what networks of machines need.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from innkeeper.records import dataclass

HEADER = struct.Struct("=IHHII")  # nlmsghdr
LINK = struct.Struct("=BxHiII")  # ifinfomsg
ADDRESS = struct.Struct("=BBBBi")  # ifaddrmsg
ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg
ATTRIBUTE = struct.Struct("=HH")
NLMSG_ERROR, NLMSG_DONE = 2, 3
F_REQUEST, F_ACK, F_DUMP, F_REPLACE, F_EXCL, F_CREATE = 0x1, 0x4, 0x300, 0x100, 0x200, 0x400
NEWLINK, DELLINK, GETLINK = 16, 17, 18
NEWADDR, DELADDR, GETADDR, GETROUTE = 20, 21, 22, 26
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO, IFLA_IFALIAS = 1, 3, 4, 10, 18, 20
INFO_KIND, INFO_DATA = 1, 2
BR_STP_STATE = 5
TUN_OWNER = 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
F_NODAD = 2  # a bridge without machines would never finish looking for duplicates
RTA_DST, RTA_OIF = 1, 4
RTPROT_RA = 9
IFF_UP = 1
NESTED = 0x8000
KIND_MASK = 0x3FFF
BUFFER = 1 << 18
PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Link:
    """An interface."""

    index: int
    name: str
    mac: str
    mtu: int
    up: bool
    kind: str  # bridge, tun, veth …; empty for hardware
    master: int | None
    owner: int | None  # the user whose tap it is
    stp: bool


@dataclass(frozen=True, slots=True)
class RouteSeen:
    """One route of the host's."""

    destination: str  # empty for the default route
    prefix: int
    index: int
    protocol: int


def attribute(kind: int, data: bytes) -> bytes:
    length = ATTRIBUTE.size + len(data)
    return ATTRIBUTE.pack(length, kind) + data + bytes(-length % 4)


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def attributes(data: bytes) -> dict[int, bytes]:
    """Those of one level. A kernel's message is well formed; a short one ends early."""
    found, at = {}, 0
    while at + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if length < ATTRIBUTE.size:
            break
        found[kind & KIND_MASK] = data[at + ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def u32(found: dict[int, bytes], kind: int) -> int | None:
    data = found.get(kind)
    return struct.unpack("=I", data[:4])[0] if data is not None and len(data) >= 4 else None


class Netlink:
    """A conversation with the kernel. Every refusal is an `OSError`."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.settimeout(PATIENCE_S)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    # ---- interfaces -----------------------------------------------------------------------------

    def links(self) -> list[Link]:
        body = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        return [read_link(payload) for payload in self._ask(GETLINK, F_DUMP, body)]

    def link(self, name: str) -> Link | None:
        return next((link for link in self.links() if link.name == name), None)

    def add_bridge(self, name: str, mac: str, *, stp: bool = False) -> None:
        info = text(INFO_KIND, "bridge") + attribute(INFO_DATA | NESTED, number(BR_STP_STATE, int(stp)))
        body = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text(IFLA_IFNAME, name)
        body += attribute(IFLA_ADDRESS, bytes.fromhex(mac.replace(":", ""))) + attribute(IFLA_LINKINFO | NESTED, info)
        self._ask(NEWLINK, F_ACK | F_CREATE | F_EXCL, body)

    def delete_link(self, index: int) -> None:
        """One that has gone already is no mistake."""
        try:
            self._ask(DELLINK, F_ACK, LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    def set_up(self, index: int, *, up: bool = True) -> None:
        self._ask(NEWLINK, F_ACK, LINK.pack(socket.AF_UNSPEC, 0, index, IFF_UP if up else 0, IFF_UP))

    def set_mtu(self, index: int, mtu: int) -> None:
        self._ask(NEWLINK, F_ACK, LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0) + number(IFLA_MTU, mtu))

    def set_master(self, index: int, master: int) -> None:
        self._ask(NEWLINK, F_ACK, LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0) + number(IFLA_MASTER, master))

    # ---- addresses and routes -------------------------------------------------------------------

    def addresses(self) -> list[tuple[int, str]]:
        """Of all interfaces: the index, and the address with its prefix."""
        found = []
        for payload in self._ask(GETADDR, F_DUMP, ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
            family, prefix, _, _, index = ADDRESS.unpack_from(payload)
            parts = attributes(payload[ADDRESS.size :])
            data = parts.get(IFA_LOCAL) or parts.get(IFA_ADDRESS)
            if data is not None and family in (socket.AF_INET, socket.AF_INET6):
                found.append((index, f"{socket.inet_ntop(family, data)}/{prefix}"))
        return found

    def add_address(self, index: int, address: str, prefix: int) -> None:
        """One that is there already is no mistake."""
        self._ask(NEWADDR, F_ACK | F_CREATE | F_REPLACE, address_body(index, address, prefix))

    def remove_address(self, index: int, address: str, prefix: int) -> None:
        self._ask(DELADDR, F_ACK, address_body(index, address, prefix))

    def routes(self) -> list[RouteSeen]:
        """Those of the main tables, of both families."""
        found = []
        for family in (socket.AF_INET, socket.AF_INET6):
            for payload in self._ask(GETROUTE, F_DUMP, ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)):
                _, prefix, _, _, table, protocol, _, kind, _ = ROUTE.unpack_from(payload)
                parts = attributes(payload[ROUTE.size :])
                data, index = parts.get(RTA_DST), u32(parts, RTA_OIF)
                if table == 254 and kind == 1 and index is not None:  # RT_TABLE_MAIN, RTN_UNICAST
                    destination = socket.inet_ntop(family, data) if data else ""
                    found.append(RouteSeen(destination, prefix, index, protocol))
        return found

    # ---- messages -------------------------------------------------------------------------------

    def _ask(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        """The payloads of all answers."""
        self._sequence += 1
        self._socket.send(HEADER.pack(HEADER.size + len(body), kind, F_REQUEST | flags, self._sequence, 0) + body)
        found: list[bytes] = []
        while True:
            for kind_seen, payload in self._messages(self._socket.recv(BUFFER)):
                if kind_seen == NLMSG_DONE:
                    return found
                if kind_seen == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", payload)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    return found
                found.append(payload)

    def _messages(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        at = 0
        while at + HEADER.size <= len(data):
            length, kind, _, sequence, _ = HEADER.unpack_from(data, at)
            if sequence == self._sequence:
                yield kind, data[at + HEADER.size : at + length]
            at += (length + 3) & ~3


def address_body(index: int, address: str, prefix: int) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    body = ADDRESS.pack(family, prefix, F_NODAD if ":" in address else 0, 0, index) + attribute(IFA_LOCAL, packed)
    return body + attribute(IFA_ADDRESS, packed)


def read_link(payload: bytes) -> Link:
    _, _, index, flags, _ = LINK.unpack_from(payload)
    parts = attributes(payload[LINK.size :])
    info = attributes(parts.get(IFLA_LINKINFO, b""))
    kind = info.get(INFO_KIND, b"").rstrip(b"\0").decode(errors="replace")
    data = attributes(info.get(INFO_DATA, b""))
    return Link(
        index=index,
        name=parts.get(IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"),
        mac=parts.get(IFLA_ADDRESS, b"").hex(":"),
        mtu=u32(parts, IFLA_MTU) or 0,
        up=bool(flags & IFF_UP),
        kind=kind,
        master=u32(parts, IFLA_MASTER),
        owner=u32(data, TUN_OWNER) if kind == "tun" else None,
        stp=bool(kind == "bridge" and u32(data, BR_STP_STATE)),
    )
