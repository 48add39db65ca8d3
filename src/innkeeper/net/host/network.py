"""What a network of machines is: frozen, and checked when it is made.

Spec: the fields are those of libvirt's "Network XML format" that have a meaning here. Not here: QoS, VLANs, port groups, SR-IOV pools, TFTP.
"""

import ipaddress
import re
from dataclasses import field
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Interface
from uuid import UUID, uuid4

from innkeeper.errors import ConfigError
from innkeeper.records import dataclass

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
INTERFACE = re.compile(r"(?!-|\.\.?$)[A-Za-z0-9_.-]{1,15}")  # IFNAMSIZ, less its closing NUL
LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
DOMAIN = re.compile(rf"(?=.{{1,253}}$){LABEL}(?:\.{LABEL})*")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
DUID = re.compile(r"[0-9a-f]{1,2}(:[0-9a-f]{1,2}){1,127}")
MTU_MINIMUM, MTU_MINIMUM_6, MTU_LIMIT = 68, 1280, 65535
PREFIXES_4, PREFIXES_6 = (8, 30), (16, 126)
SLAAC_PREFIX = 64  # RFC 4862 makes addresses of no other
RANGE_LIMIT = 65536
HOSTS_LIMIT = 4096
PORT_LIMIT = 65535

Interface = IPv4Interface | IPv6Interface
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Mode(StrEnum):
    """How machines on the network reach others."""

    NAT = "nat"  # under the host's own address
    ROUTE = "route"  # under theirs: others need a route here
    OPEN = "open"  # as route, and no rules of ours at all
    NONE = "none"  # not at all: isolated
    BRIDGE = "bridge"  # over a bridge that somebody else made
    USER = "user"  # each over a network of its own, by address translation in its process


OWN_BRIDGE = frozenset({Mode.NAT, Mode.ROUTE, Mode.OPEN, Mode.NONE})
FORWARDED = frozenset({Mode.NAT, Mode.ROUTE, Mode.OPEN})


@dataclass(frozen=True, slots=True)
class Range:
    """Addresses that DHCP gives away."""

    start: IPAddress
    end: IPAddress
    lease_s: int | None = None  # 0: for ever; None: an hour


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticHost:
    """A machine that DHCP always gives the same address."""

    mac: str | None = None
    duid: str | None = None  # DHCPv6 knows clients by that
    name: str | None = None
    address: IPAddress | None = None

    def __post_init__(self) -> None:
        if self.mac is not None and not MAC.fullmatch(self.mac):
            raise ConfigError(f"a DHCP host has the MAC {self.mac!r}; it must be six bytes like 52:54:00:12:34:56")
        if self.duid is not None and not DUID.fullmatch(self.duid):
            raise ConfigError(f"a DHCP host has the id {self.duid!r}; it must be bytes like 0:3:0:1:52:54:0:12:34:56")
        if self.name is not None and not DOMAIN.fullmatch(self.name):
            raise ConfigError(f"a DHCP host has the name {self.name!r}; it must be letters, digits, dots and dashes")
        if self.mac is None and self.duid is None and self.name is None:
            raise ConfigError(f"the DHCP host {self.address} has neither a MAC nor a name; give it one to be known by")
        if self.address is None and self.name is None:
            raise ConfigError(f"the DHCP host {self.mac or self.duid} gets neither an address nor a name; give it one")

    @property
    def described(self) -> str:
        return " ".join(str(it) for it in (self.mac, self.duid, self.name, self.address) if it is not None)


@dataclass(frozen=True, slots=True)
class Address:
    """The host's address on a network, and what its machines get by DHCP."""

    interface: Interface
    ranges: tuple[Range, ...] = ()
    hosts: tuple[StaticHost, ...] = ()

    def __post_init__(self) -> None:
        four = isinstance(self.interface, IPv4Interface)
        low, high = PREFIXES_4 if four else PREFIXES_6
        network = self.interface.network
        if not low <= network.prefixlen <= high:
            raise ConfigError(f"address {self.interface} has a prefix of {network.prefixlen}; {low} to {high} can be")
        if self.interface.ip.is_multicast or self.interface.ip.is_loopback or self.interface.ip.is_unspecified:
            raise ConfigError(f"address {self.interface} is nobody's own; take a private one, as in 192.168.150.1/24")
        if four and self.interface.ip in (network.network_address, network.broadcast_address):
            raise ConfigError(
                f"address {self.interface} is the network's or everybody's; take {network[1]}/{low_bits(network)}"
            )
        for each in self.ranges:
            self._check_range(each)
        self._check_hosts()

    def _check_range(self, each: Range) -> None:
        network = self.interface.network
        for end in (each.start, each.end):
            if end not in network:
                raise ConfigError(f"a DHCP range ends at {end}, which is not in {network}")
        if int(each.start) > int(each.end):
            raise ConfigError(f"a DHCP range goes from {each.start} down to {each.end}; write it upwards")
        if int(each.end) - int(each.start) >= RANGE_LIMIT:
            raise ConfigError(f"a DHCP range from {each.start} to {each.end} has more than {RANGE_LIMIT} addresses")
        if isinstance(self.interface, IPv4Interface):
            if network.network_address == each.start or network.broadcast_address == each.end:
                raise ConfigError(
                    f"a DHCP range from {each.start} to {each.end} has the network's own address or everybody's; "
                    f"at most it is {network[1]} to {network[-2]}"
                )
        elif network.prefixlen != SLAAC_PREFIX:
            raise ConfigError(f"DHCP on {network} needs a prefix of {SLAAC_PREFIX}; it is {network.prefixlen}")
        if each.lease_s is not None and each.lease_s < 0:
            raise ConfigError(f"a DHCP lease of {each.lease_s} s cannot be; 0 is one for ever")

    def _check_hosts(self) -> None:
        if len(self.hosts) > HOSTS_LIMIT:
            raise ConfigError(f"{self.interface.network} has {len(self.hosts)} DHCP hosts; the limit is {HOSTS_LIMIT}")
        seen: dict[object, StaticHost] = {}
        for host in self.hosts:
            if host.address is not None and host.address not in self.interface.network:
                raise ConfigError(f"the DHCP host {host.described} is not in {self.interface.network}")
            if host.address == self.interface.ip:
                raise ConfigError(f"the DHCP host {host.described} has the address of the host itself; take another")
            for key in (host.mac, host.duid, host.name, host.address):
                other = seen.setdefault(key, host)
                if key is not None and other is not host:
                    raise ConfigError(f"the DHCP hosts {other.described} and {host.described} have the same {key}")

    @property
    def serves_dhcp(self) -> bool:
        return bool(self.ranges or self.hosts)


def low_bits(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> int:
    return network.prefixlen


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    """What the network's name server knows and whom it asks."""

    enabled: bool = True
    hosts: tuple[tuple[IPAddress, tuple[str, ...]], ...] = ()
    forwarders: tuple[tuple[IPAddress | None, str | None], ...] = ()  # whom to ask, and for which domain only

    def __post_init__(self) -> None:
        for address, names in self.hosts:
            for name in names:
                if not DOMAIN.fullmatch(name):
                    raise ConfigError(f"the DNS host {address} has the name {name!r}; it must be a domain name")
        for server, domain in self.forwarders:
            if domain is not None and not DOMAIN.fullmatch(domain):
                raise ConfigError(f"a DNS forwarder is for {domain!r}; it must be a domain name")
            if server is None and domain is None:
                raise ConfigError("a DNS forwarder has neither an address nor a domain; give it one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network. Raises `ConfigError` for what cannot be."""

    name: str
    uuid: UUID = field(default_factory=uuid4)
    title: str = ""
    description: str = ""
    mode: Mode = Mode.NONE
    bridge: str = ""  # the interface's name; none for a user network
    mac: str | None = None  # of the bridge
    stp: bool = False
    mtu: int | None = None
    domain: str | None = None
    domain_is_local: bool = False  # nobody else is asked about it
    devices: tuple[str, ...] = ()  # the only interfaces of the host's that lead out
    nat_ports: tuple[int, int] | None = None
    nat_ipv6: bool = False
    addresses: tuple[Address, ...] = ()
    dns: Dns = field(default_factory=Dns)

    def __post_init__(self) -> None:
        check_network_name(self.name)
        if "\n" in self.title:
            raise ConfigError(f"the title of network {self.name} has more than one line; the description may")
        if self.mode is Mode.USER:
            self._check_empty("a network of each machine's own")
        else:
            check_interface(self.bridge, f"the bridge of network {self.name}")
            if self.mode is Mode.BRIDGE:
                self._check_empty(f"made of {self.bridge} as it is")
        self._check_link()
        self._check_forward()
        self._check_addresses()

    def _check_empty(self, words: str) -> None:
        if self.addresses or self.domain or self.nat_ports or self.mtu or (self.mode is Mode.USER and self.bridge):
            raise ConfigError(
                f"network {self.name} is {words}, forward mode {self.mode}; it takes no bridge, address, domain or MTU of its own"
                if self.mode is Mode.USER
                else f"network {self.name} is {words}, forward mode {self.mode}; it takes no address, domain or MTU"
            )

    def _check_link(self) -> None:
        if self.mac is not None and (not MAC.fullmatch(self.mac) or int(self.mac[:2], 16) & 1):
            raise ConfigError(f"network {self.name} has the MAC {self.mac!r}; it must be like 52:54:00:12:34:56")
        six = any(it.interface.version == 6 for it in self.addresses)
        low = MTU_MINIMUM_6 if six else MTU_MINIMUM
        if self.mtu is not None and not low <= self.mtu <= MTU_LIMIT:
            raise ConfigError(f"network {self.name} has an MTU of {self.mtu}; it must be between {low} and {MTU_LIMIT}")
        if self.domain is not None and not DOMAIN.fullmatch(self.domain):
            raise ConfigError(f"network {self.name} has the domain {self.domain!r}; it must be a domain name")

    def _check_forward(self) -> None:
        for device in self.devices:
            check_interface(device, f"the way out of network {self.name}")
        if self.devices and self.mode not in FORWARDED:
            raise ConfigError(
                f"network {self.name} leads out by {self.devices[0]} in forward mode {self.mode}; only nat, route and open do"
            )
        if self.nat_ports is not None:
            low, high = self.nat_ports
            if self.mode is not Mode.NAT or not 1 <= low <= high <= PORT_LIMIT:
                raise ConfigError(
                    f"network {self.name} translates to ports {low} to {high}; mode nat takes 1 to {PORT_LIMIT}, upwards"
                )
        if self.mode in (Mode.NAT, Mode.ROUTE) and not self.addresses:
            raise ConfigError(
                f"network {self.name} is of mode {self.mode} and has no address; give it one, as in 10.0.2.1/24"
            )

    def _check_addresses(self) -> None:
        for index, one in enumerate(self.addresses):
            for other in self.addresses[:index]:
                if one.interface.version == other.interface.version and one.interface.network.overlaps(
                    other.interface.network
                ):
                    raise ConfigError(f"network {self.name} has {other.interface} and {one.interface}, which overlap")
        for version in (4, 6):
            serving = [it for it in self.addresses if it.interface.version == version and it.serves_dhcp]
            if len(serving) > 1:
                raise ConfigError(
                    f"network {self.name} has DHCP on {serving[0].interface} and {serving[1].interface}; one of a kind can have it"
                )

    @property
    def needs_server(self) -> bool:
        """Whether somebody must answer DHCP or DNS."""
        six = any(it.interface.version == 6 for it in self.addresses)  # routers are advertised
        return (
            self.mode in OWN_BRIDGE
            and bool(self.addresses)
            and (self.dns.enabled or six or any(it.serves_dhcp for it in self.addresses))
        )

    def first(self, version: int) -> Address | None:
        return next((it for it in self.addresses if it.interface.version == version), None)


def check_network_name(name: str) -> str:
    """Raises `ConfigError` unless it can name a network: a file's name, and no option.

    >>> check_network_name("a/b")
    Traceback (most recent call last):
      ...
    innkeeper.errors.ConfigError: a network's name is 'a/b'; it must be at most 63 letters, digits and . _ -, and not begin with a sign
    """
    if not NAME.fullmatch(name):
        shown = name if len(name) <= 80 else name[:77] + "..."
        raise ConfigError(
            f"a network's name is {shown!r}; it must be at most 63 letters, digits and . _ -, and not begin with a sign"
        )
    return name


def check_interface(name: str, what: str) -> str:
    """Raises `ConfigError` unless it can name an interface, in rules and files too."""
    if not INTERFACE.fullmatch(name):
        shown = name if len(name) <= 80 else name[:77] + "..."
        raise ConfigError(
            f"{what} is {shown!r}; an interface's name is 1 to 15 letters, digits and . _ -, no sign first"
        )
    return name
