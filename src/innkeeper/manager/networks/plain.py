"""A network in a few words, as `inn net create` takes them → its document."""

import ipaddress

from innkeeper.errors import ConfigError
from innkeeper.manager.networks.network_xml import document, root_of, write_network
from innkeeper.net.host.network import INTERFACE, Address, Interface, Mode, Network, Range, StaticHost
from innkeeper.records import dataclass

RANGE_LIMIT = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What was said of a network; the rest follows."""

    name: str
    addresses: tuple[str, ...] = ()
    mode: str | None = None
    bridge: str | None = None
    dhcp: str | None = None  # START-END; by itself all that the subnet has beside the host
    no_dhcp: bool = False
    hosts: tuple[str, ...] = ()  # MAC=ADDRESS[,NAME]
    domain: str | None = None
    device: str | None = None
    mtu: int | None = None


def document_of(words: Words) -> str:
    """Raises `ConfigError` for what cannot be."""
    mode = read_mode(words)
    addresses = tuple(Address(read_address(text)) for text in words.addresses)
    owned = mode not in (Mode.USER, Mode.BRIDGE)
    if not addresses and (words.dhcp or words.hosts):
        raise ConfigError(f"network {words.name} has DHCP and no address of its own; give it --address")
    network = Network(
        name=words.name,
        mode=mode,
        bridge=words.bridge or ("" if mode is Mode.USER else bridge_of(words.name)),
        mtu=words.mtu,
        domain=words.domain,
        domain_is_local=words.domain is not None,  # of these names nobody else knows anything
        devices=(words.device,) if words.device is not None else (),
        addresses=with_dhcp(addresses, words) if owned else addresses,
    )
    return without_uuid(write_network(network))


def without_uuid(text: str) -> str:
    """So that the same words describe the same network the next time."""
    root = root_of(text)
    uuid = root.find("uuid")
    if uuid is not None:
        root.remove(uuid)
    return document(root)


def read_mode(words: Words) -> Mode:
    if words.mode is None:
        return Mode.NAT if words.addresses else Mode.USER
    known = {**{mode.value: mode for mode in Mode}, "isolated": Mode.NONE}
    if words.mode not in known:
        raise ConfigError(f"mode is {words.mode!r}; it can be {', '.join(known)}")
    return known[words.mode]


def bridge_of(name: str) -> str:
    """A network is its bridge's namesake, unless another name is given. Raises `ConfigError` where it cannot be."""
    if not INTERFACE.fullmatch(name):
        raise ConfigError(f"network {name} has a name that no interface can have; name its bridge with --bridge")
    return name


def read_address(text: str) -> Interface:
    try:
        if "/" not in text:
            raise ConfigError(f"address is {text!r}; say how long its prefix is, as in 10.0.2.1/24")
        return ipaddress.ip_interface(text)
    except ValueError:
        raise ConfigError(f"address is {text!r}; it must be one with its prefix, as in 10.0.2.1/24") from None


def with_dhcp(addresses: tuple[Address, ...], words: Words) -> tuple[Address, ...]:
    """DHCP on the first IPv4 address; hosts where their addresses belong."""
    if words.no_dhcp:
        return addresses
    hosts = tuple(read_host(text) for text in words.hosts)
    first = next((it for it in addresses if it.interface.version == 4), None)
    served = []
    for each in addresses:
        span = () if each is not first else (read_span(words.dhcp, each) if words.dhcp is not None else rest_of(each),)
        theirs = tuple(host for host in hosts if host.address is not None and host.address in each.interface.network)
        served.append(Address(each.interface, span, theirs))
    for host in hosts:
        if not any(host in each.hosts for each in served):
            raise ConfigError(f"the DHCP host {host.described} is in none of the network's subnets")
    return tuple(served)


def read_host(text: str) -> StaticHost:
    mac, _, rest = text.partition("=")
    where, _, name = rest.partition(",")
    try:
        address = ipaddress.ip_address(where)
    except ValueError:
        raise ConfigError(f"host is {text!r}; it must look like 52:54:00:12:34:56=10.0.2.10,web") from None
    return StaticHost(mac=mac.lower(), name=name or None, address=address)


def read_span(text: str, address: Address) -> Range:
    start, _, end = text.partition("-")
    try:
        return Range(ipaddress.ip_address(start.strip()), ipaddress.ip_address(end.strip()))
    except ValueError:
        low = address.interface.network
        raise ConfigError(f"dhcp is {text!r}; it must be two addresses, as in {low[2]}-{low[-2]}") from None


def rest_of(address: Address) -> Range:
    """The longer part of the subnet beside the host's own address.

    >>> rest_of(Address(ipaddress.ip_interface("10.0.2.1/24")))
    Range(start=IPv4Address('10.0.2.2'), end=IPv4Address('10.0.2.254'), lease_s=None)
    """
    network, own = address.interface.network, int(address.interface.ip)
    first, last = int(network[1]), int(network[-2])
    if own - first > last - own:
        low, high = max(first, own - RANGE_LIMIT), own - 1
    else:
        low, high = own + 1, min(last, own + RANGE_LIMIT)
    return Range(ipaddress.ip_address(low), ipaddress.ip_address(high))
