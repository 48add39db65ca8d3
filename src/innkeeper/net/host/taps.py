"""Tap interfaces on a bridge that root makes once and a user's machines then take, one each.

Spec: Linux Documentation/networking/tuntap.rst. Their names say which bridge they are of, so that they are found and removed whatever happened
to whoever made them. Which one is free the kernel decides: it gives a tap to one process at a time, and takes it back when that ends.
"""

import errno
import fcntl
import hashlib
import os
import struct

from innkeeper.errors import HostError
from innkeeper.net.host.netlink import Link, Netlink

DEVICE = "/dev/net/tun"
TUNSETIFF, TUNSETPERSIST, TUNSETOWNER = 0x400454CA, 0x400454CB, 0x400454CC
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
COUNT, COUNT_LIMIT = 8, 256  # as `inn net tap` says too


def prefix(bridge: str) -> str:
    """How the names of a bridge's taps begin.

    >>> prefix("br0")
    'inn0f1575-'
    """
    return f"inn{hashlib.sha256(bridge.encode()).hexdigest()[:6]}-"


def of_bridge(netlink: Netlink, bridge: str) -> list[Link]:
    """All that were made for it, joined to it yet or not."""
    return [link for link in netlink.links() if link.kind == "tun" and link.name.startswith(prefix(bridge))]


def ensure(bridge: str, owner: int, count: int) -> list[str]:
    """Has the user own at least so many on the bridge, all of them joined and up. Raises `HostError`."""
    with Netlink() as netlink:
        master = netlink.link(bridge)
        if master is None or master.kind != "bridge":
            raise HostError(f"there is no bridge {bridge} to put taps on")
        there = of_bridge(netlink, bridge)
        theirs = [link.name for link in there if link.owner == owner]
        taken = {link.name for link in there}
        free = (name for number in range(COUNT_LIMIT) if (name := f"{prefix(bridge)}{number}") not in taken)
        while len(theirs) < count:
            another = next(free, None)
            if another is None:
                raise HostError(f"bridge {bridge} has {COUNT_LIMIT} taps, which is the limit; remove some first")
            make(another, owner)
            theirs.append(another)
        for link in of_bridge(netlink, bridge):
            join(netlink, link, master)
    return theirs


def join(netlink: Netlink, link: Link, master: Link) -> None:
    try:
        if link.master != master.index:
            netlink.set_master(link.index, master.index)
        if link.mtu != master.mtu:
            netlink.set_mtu(link.index, master.mtu)
        if not link.up:
            netlink.set_up(link.index)
    except OSError as error:
        raise HostError(f"cannot put {link.name} on {master.name}: {words(error)}") from error


def match(name: str, bridge: str) -> None:
    """A bridge drops what is longer than a tap's MTU: they shall be the same. Raises `HostError`."""
    with Netlink() as netlink:
        link, master = netlink.link(name), netlink.link(bridge)
        if link is not None and master is not None and link.mtu != master.mtu:
            try:
                netlink.set_mtu(link.index, master.mtu)
            except OSError as error:
                raise HostError(f"cannot give {name} the MTU {master.mtu} of {bridge}: {words(error)}") from error


def make(name: str, owner: int) -> None:
    """A tap that stays. Its owner is set before it does, so that nobody ever finds it without. Raises `HostError`."""
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"cannot open {DEVICE}: {words(error)}; taps need it: modprobe tun") from error
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        fcntl.ioctl(descriptor, TUNSETOWNER, owner)
        fcntl.ioctl(descriptor, TUNSETPERSIST, 1)
    except OSError as error:
        raise HostError(f"cannot make tap {name}: {words(error)}") from error
    finally:
        os.close(descriptor)


def remove(bridge: str, owner: int | None = None) -> list[str]:
    """Those of a user, or all. A machine that has one loses its cable. Raises `HostError`."""
    with Netlink() as netlink:
        gone = [link for link in of_bridge(netlink, bridge) if owner is None or link.owner == owner]
        for link in gone:
            try:
                netlink.delete_link(link.index)
            except OSError as error:
                raise HostError(f"cannot remove tap {link.name}: {words(error)}") from error
    return [link.name for link in gone]


def owned(bridge: str, user: int) -> list[str]:
    """The user's taps on a bridge, those of `ensure` and any that an administrator made. Raises `HostError`."""
    try:
        with Netlink() as netlink:
            links = netlink.links()
    except OSError as error:
        raise HostError(f"cannot list this host's interfaces: {words(error)}") from error
    master = next((link.index for link in links if link.name == bridge), None)
    return [
        link.name
        for link in links
        if master is not None and link.kind == "tun" and link.owner == user and link.master == master
    ]


def words(error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return "that needs CAP_NET_ADMIN"
    return (error.strerror or str(error)).lower()
