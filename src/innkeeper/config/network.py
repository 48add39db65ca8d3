"""One network card, in virt-install's words: `user,model=virtio,portForward=8080:80`, `network=default`, `bridge=br0`, `tap=tap0`, `none`."""

import ipaddress
import re
from enum import StrEnum
from pathlib import Path

from innkeeper.config.keyvalue import KeyValues
from innkeeper.config.slots import require_slot
from innkeeper.errors import ConfigError
from innkeeper.records import dataclass

OPTION = "--network"
PORT_LIMIT = 65535
QUEUES_LIMIT = 16
MTU_MINIMUM, MTU_LIMIT = 68, 65535
INTERFACE_NAME_LIMIT = 15  # IFNAMSIZ, less its closing NUL
NETWORK_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
DNS_PORT = 53
LOOPBACK = "127.0.0.1"
FORWARD_RANGE_LIMIT = 256  # ports of one forward
BOOT_FILE_LIMIT = 127  # characters: DHCP's field, less its closing NUL

# virt-install's: [ADDRESS:]PORT[-LAST]:GUEST_PORT[/PROTOCOL]
RULE = re.compile(
    r"(?:(?P<host>\[[^]]*\]|[^:]+):)?(?P<first>\d+)(?:-(?P<last>\d+))?:(?P<guest>\d+)(?:/(?P<udp>tcp|udp))?"
)
# QEMU's: PROTOCOL:[ADDRESS]:PORT-[GUEST_ADDRESS]:GUEST_PORT, the last colon optional
HOSTFWD = re.compile(r"(?P<udp>tcp|udp):(?:(?P<host>\[[^]]*\]|[^:]*):)?(?P<first>\d+)-:?(?P<guest>\d+)")


class NetworkKind(StrEnum):
    """Where a card's frames go."""

    USER = "user"  # to a network of the guest's own, with the way out by address translation
    TAP = "tap"  # to an interface of the host's
    BRIDGE = "bridge"  # to a bridge of the host's
    NETWORK = "network"  # to a network that the manager knows by name
    NONE = "none"  # there is no card


class UserBackend(StrEnum):
    """Who translates a `user` network's addresses."""

    BUILTIN = "builtin"
    PASST = "passt"


class CardModel(StrEnum):
    """What the guest finds."""

    VIRTIO = "virtio"
    E1000 = "e1000"


class LinkState(StrEnum):
    """Whether the cable is plugged in."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardConfig:
    """A port of the host that leads to one of the guest's.

    >>> ForwardConfig.parse("2222:22")
    (ForwardConfig(udp=False, host='127.0.0.1', port=2222, guest_port=22),)
    >>> ForwardConfig.parse("udp:0.0.0.0:5353-53")
    (ForwardConfig(udp=True, host='0.0.0.0', port=5353, guest_port=53),)
    """

    udp: bool = False
    host: str = LOOPBACK
    port: int
    guest_port: int

    def __post_init__(self) -> None:
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            raise ConfigError(f"a forward listens at {self.host!r}; it must be an IP address") from None
        for name, port, low in (("host's", self.port, 0), ("guest's", self.guest_port, 1)):
            if not low <= port <= PORT_LIMIT:
                raise ConfigError(f"a forward has the {name} port {port}; it must be between {low} and {PORT_LIMIT}")

    @classmethod
    def parse(cls, text: str) -> tuple["ForwardConfig", ...]:
        """One rule, which may be of several ports. Raises `ConfigError`."""
        found = HOSTFWD.fullmatch(text) or RULE.fullmatch(text)
        if found is None:
            raise ConfigError(
                f"{OPTION} has the forward {text!r}; it must look like 2222:22, 127.0.0.1:2222:22/tcp or tcp:127.0.0.1:2222-22"
            )
        groups = found.groupdict()
        first, guest = int(groups["first"]), int(groups["guest"])
        last = int(groups.get("last") or first)
        if not 0 <= last - first < FORWARD_RANGE_LIMIT:
            raise ConfigError(
                f"{OPTION} forwards {first}-{last}; a range has between 1 and {FORWARD_RANGE_LIMIT} ports"
            )
        host = (groups["host"] or LOOPBACK).strip("[]")
        udp = groups["udp"] == "udp"
        ports = range(last - first + 1)
        return tuple(cls(udp=udp, host=host, port=first + at, guest_port=guest + at) for at in ports)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """One card and its cable. Raises `ConfigError` for what cannot be."""

    kind: NetworkKind = NetworkKind.USER
    name: str = ""  # of the tap interface, the bridge, or the network; of a user network that whose place it takes
    model: CardModel = CardModel.VIRTIO
    mac: str | None = None  # made of what the machine is, if it is not given
    link: LinkState = LinkState.UP
    queues: int | None = None  # one a vCPU, up to a limit, where that helps
    mtu: int | None = None
    backend: UserBackend = UserBackend.BUILTIN
    loopback: bool = False  # the guest finds the host's 127.0.0.1 at the gateway's address
    name_servers: tuple[tuple[str, int], ...] = ()  # instead of the host's: addresses and ports
    forwards: tuple[ForwardConfig, ...] = ()
    tftp: Path | None = None  # a folder whose files a guest that boots from the network gets
    slot: int | None = None  # of PCI bus 0; the first that is free
    bootfile: str = ""  # which of them first; or an address that its boot ROM fetches

    def __post_init__(self) -> None:
        require_slot(self.slot, "a network card")
        if self.mac is not None:
            require_mac(self.mac)
        self._check_boot()
        named = self.kind in (NetworkKind.TAP, NetworkKind.BRIDGE)
        if named and not (0 < len(self.name) <= INTERFACE_NAME_LIMIT and not re.search(r"[\s/:\0]", self.name)):
            limit = f"1 to {INTERFACE_NAME_LIMIT} characters, none of them a space, slash or colon"
            raise ConfigError(f"{OPTION} has {self.kind}={self.name!r}; an interface's name has {limit}")
        if self.kind is NetworkKind.NETWORK and not NETWORK_NAME.fullmatch(self.name):
            raise ConfigError(
                f"{OPTION} has network={self.name!r}; a network's name has at most 63 letters, digits and . _ -"
            )
        if self.kind is not NetworkKind.USER and (
            self.forwards or self.loopback or self.backend is not UserBackend.BUILTIN
        ):
            raise ConfigError(f"{OPTION} {self.kind} has forwards, loopback or a backend; only a user network does")
        if self.loopback and self.backend is UserBackend.PASST:
            raise ConfigError(
                f"{OPTION} has loopback with backend=passt; only the built-in network limits what is reached"
            )

    def _check_boot(self) -> None:
        builtin = self.kind is NetworkKind.USER and self.backend is UserBackend.BUILTIN
        if (self.tftp is not None or self.bootfile) and not builtin:
            raise ConfigError(
                f"{OPTION} has tftp or bootfile, which are for the built-in user network; other networks have servers of their own"
            )
        if len(self.bootfile) > BOOT_FILE_LIMIT or not (self.bootfile.isascii() and self.bootfile.isprintable()):
            raise ConfigError(
                f"{OPTION} has bootfile={self.bootfile[:40]!r}; it must be at most {BOOT_FILE_LIMIT} ASCII characters"
            )

    @classmethod
    def parse(cls, text: str) -> "NetworkConfig":
        """
        >>> NetworkConfig.parse("bridge=br0,model=e1000").name
        'br0'
        """  # noqa: D212 - an example says it
        pairs = KeyValues(OPTION, text, first="type")
        kind, name = parse_kind(pairs)
        rules = [pairs.text(key) for key in ("portForward", "forward")]
        tftp = pairs.text("tftp")
        rules += [pairs.text(key) for key in re.findall(r"(?:^|,)((?:portForward|forward)\d+)(?==)", text)]
        config = cls(
            kind=kind,
            name=name,
            model=pairs.choice("model", CardModel, CardModel.VIRTIO) or CardModel.VIRTIO,
            mac=pairs.text("mac"),
            link=pairs.choice("link", LinkState, LinkState.UP) or LinkState.UP,
            queues=pairs.whole("queues", 1, QUEUES_LIMIT),
            mtu=pairs.whole("mtu", MTU_MINIMUM, MTU_LIMIT),
            backend=pairs.choice("backend", UserBackend, UserBackend.BUILTIN) or UserBackend.BUILTIN,
            loopback=pairs.flag("loopback", default=False) or False,
            name_servers=tuple(parse_server(server) for server in (pairs.text("dns") or "").split()),
            forwards=tuple(forward for rule in rules if rule for forward in ForwardConfig.parse(rule)),
            tftp=Path(tftp) if tftp else None,
            bootfile=pairs.text("bootfile") or "",
        )
        pairs.finish()
        return config


def parse_kind(pairs: KeyValues) -> tuple[NetworkKind, str]:
    tap, bridge, network = pairs.text("tap"), pairs.text("bridge"), pairs.text("network")
    words = pairs.text("type")
    if [tap, bridge, network, words].count(None) < 3 and words not in ("tap", "bridge", "network"):
        raise ConfigError(f"{OPTION} names more than one of user, tap, bridge and network; a card has one cable")
    if words == "passt":
        raise ConfigError(f"{OPTION} is of type passt; write user,backend=passt")
    if tap is not None:
        return NetworkKind.TAP, tap
    if bridge is not None:
        return NetworkKind.BRIDGE, bridge
    if network is not None:
        return NetworkKind.NETWORK, network
    if words in ("tap", "bridge", "network"):
        raise ConfigError(f"{OPTION} is of type {words} and does not name it; write {words}=NAME")
    return pairs.choice("type", NetworkKind, NetworkKind.USER) or NetworkKind.USER, ""


def parse_server(text: str) -> tuple[str, int]:
    """A name server's address, and the port if there is one.

    >>> parse_server("192.0.2.1"), parse_server("[2001:db8::1]:5353")
    (('192.0.2.1', 53), ('2001:db8::1', 5353))
    """
    found = re.fullmatch(r"\[(?P<six>[^]]*)\](?::(?P<port6>\d+))?|(?P<four>[^:]*)(?::(?P<port4>\d+))?", text)
    host = (found["six"] or found["four"] or "") if found else text
    port = int((found and (found["port6"] or found["port4"])) or DNS_PORT)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ConfigError(f"{OPTION} has dns={text}; it must be an IP address, or one with a port") from None
    if not 0 < port <= PORT_LIMIT:
        raise ConfigError(f"{OPTION} has dns={text}; its port must be between 1 and {PORT_LIMIT}")
    return host, port


def require_mac(text: str) -> None:
    if not re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", text):
        raise ConfigError(f"{OPTION} has mac={text}; it must be six bytes like 52:54:00:12:34:56")
    if int(text[:2], 16) & 1:
        raise ConfigError(f"{OPTION} has mac={text}, which is a group's address; the first byte must be even")
