"""A network's bridge: made, given its addresses, removed; never one that is somebody else's.

Ours is known by its hardware address, which is made of the network's UUID and which the bridge has from its first moment.
"""

import ipaddress
from pathlib import Path

from innkeeper.errors import HostError
from innkeeper.net.host import taps
from innkeeper.net.host.netlink import Link, Netlink
from innkeeper.net.host.network import Mode, Network
from innkeeper.net.mac import stable_mac

IPV6_SWITCHES = Path("/proc/sys/net/ipv6/conf")


def mac_of(network: Network) -> str:
    return network.mac or stable_mac(("bridge", str(network.uuid)), 0).hex(":")


def is_there(name: str, mac: str) -> bool:
    """Whether there is a bridge of that name which is ours. Raises `HostError`."""
    return ours(look(name), mac)


def look(name: str) -> Link | None:
    try:
        with Netlink() as netlink:
            return netlink.link(name)
    except OSError as error:
        raise HostError(f"cannot look for interface {name}: {taps.words(error)}") from error


def ours(link: Link | None, mac: str) -> bool:
    return link is not None and link.kind == "bridge" and link.mac == mac


def check(network: Network) -> None:
    """Raises `HostError` if the bridge's name or the addresses are somebody else's."""
    link = look(network.bridge)
    if link is not None and not ours(link, mac_of(network)):
        what = "a bridge that somebody else made" if link.kind == "bridge" else "an interface that is no bridge of ours"
        raise HostError(
            f"network {network.name} cannot have the bridge {network.bridge}: {network.bridge} is {what}; take another "
            "name" + ("; to use it as it is, take forward mode bridge" if link.kind == "bridge" else "")
        )
    with Netlink() as netlink:
        names = {each.index: each.name for each in netlink.links()}
        for route in netlink.routes():
            if not route.destination or names.get(route.index) == network.bridge:
                continue
            seen = ipaddress.ip_network(f"{route.destination}/{route.prefix}", strict=False)
            for address in network.addresses:
                mine = address.interface.network
                if mine.version == seen.version and mine.overlaps(seen):
                    raise HostError(
                        f"network {network.name} has {mine}, and this host reaches {seen} by {names.get(route.index)}; "
                        "take other addresses"
                    )


def make(network: Network) -> None:
    """Idempotent. Raises `HostError`."""
    try:
        with Netlink() as netlink:
            if netlink.link(network.bridge) is None:
                netlink.add_bridge(network.bridge, mac_of(network), stp=network.stp)
    except OSError as error:
        raise HostError(f"cannot make bridge {network.bridge}: {taps.words(error)}") from error


def configure(network: Network) -> None:
    """MTU, addresses, up; other addresses go. Raises `HostError`."""
    set_ipv6(network)
    wanted = {str(it.interface): it.interface for it in network.addresses}
    try:
        with Netlink() as netlink:
            link = netlink.link(network.bridge)
            if link is None:
                raise HostError(f"bridge {network.bridge} has gone while it was made; start the network again")
            if network.mtu is not None and link.mtu != network.mtu:
                netlink.set_mtu(link.index, network.mtu)
            for index, text in netlink.addresses():
                other = ipaddress.ip_interface(text)
                if index == link.index and text not in wanted and not other.ip.is_link_local:
                    netlink.remove_address(index, str(other.ip), other.network.prefixlen)
            for each in wanted.values():
                netlink.add_address(link.index, str(each.ip), each.network.prefixlen)
            if not link.up:
                netlink.set_up(link.index)
    except OSError as error:
        raise HostError(f"cannot set up bridge {network.bridge}: {taps.words(error)}") from error


def set_ipv6(network: Network) -> None:
    """No machine tells the host its routes; and without an address the host has no IPv6 there at all."""
    folder = IPV6_SWITCHES / network.bridge
    if not folder.is_dir():
        if any(it.interface.version == 6 for it in network.addresses):
            raise HostError(f"network {network.name} has an IPv6 address, and this host has no IPv6")
        return
    six = any(it.interface.version == 6 for it in network.addresses)
    for switch, value in (
        ("accept_ra", "0"),
        ("autoconf", "0"),
        ("accept_dad", "0"),
        ("disable_ipv6", str(int(not six))),
    ):
        try:
            if (folder / switch).read_text().strip() != value:
                (folder / switch).write_text(value)
        except OSError as error:
            raise HostError(f"cannot set {folder / switch}: {taps.words(error)}") from error


def members(name: str) -> list[Link]:
    """What is plugged into a bridge. Raises `HostError`."""
    try:
        with Netlink() as netlink:
            links = netlink.links()
    except OSError as error:
        raise HostError(f"cannot list this host's interfaces: {taps.words(error)}") from error
    master = next((link.index for link in links if link.name == name), None)
    return [] if master is None else [link for link in links if link.master == master]


def plug(name: str, links: list[tuple[int, str]]) -> None:
    """Joins what was on the bridge before and is on no other now. Raises `HostError`."""
    if not links:
        return
    try:
        with Netlink() as netlink:
            master = netlink.link(name)
            for link in netlink.links():
                if master is not None and (link.index, link.name) in links and link.master is None:
                    netlink.set_master(link.index, master.index)
    except OSError as error:
        raise HostError(f"cannot plug machines into bridge {name} again: {taps.words(error)}") from error


def remove(name: str, mac: str) -> None:
    """Only if it is ours. Idempotent. Raises `HostError`."""
    try:
        with Netlink() as netlink:
            link = netlink.link(name)
            if link is not None and ours(link, mac):
                netlink.delete_link(link.index)
    except OSError as error:
        raise HostError(f"cannot remove bridge {name}: {taps.words(error)}") from error


def exists(network: Network) -> bool:
    """For a network over somebody else's bridge. Raises `HostError`."""
    link = look(network.bridge)
    return network.mode is Mode.BRIDGE and link is not None and link.kind == "bridge"
