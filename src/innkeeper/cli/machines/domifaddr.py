"""`inn domifaddr`: the addresses of a running machine's cards, as far as this host knows them."""

import argparse
import ipaddress
from pathlib import Path

from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.cli.words import Manner
from innkeeper.errors import ConfigError

NEIGHBOURS = Path("/proc/net/arp")
LEASES = ("/var/lib/misc/dnsmasq.leases", "/var/lib/libvirt/dnsmasq/*.leases", "/run/innkeeper-networks/*/leases")
AGENT = "agent"
SOURCES = ("lease", "arp", AGENT)
COMPLETE = 0x2  # of an entry in the neighbour table
PREFIXES = {"user": 24}
HEADS = ("Name", "MAC address", "Protocol", "Address")


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "interface", "only this one: its MAC address, or its interface on the host", required=False)
    parser.add_argument("--full", action="store_true", help="the card's name and address on every line")
    parser.add_argument(
        "--source",
        metavar="SOURCE",
        help="lease: DHCP's; arp: the host's neighbours; both if not given; agent: what the guest's agent says",
    )
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    wanted = arguments.interface
    if arguments.source not in (None, *SOURCES):
        raise ConfigError(f"source is {arguments.source!r}; it can be {', '.join(SOURCES)}")
    if arguments.source == AGENT:
        show(arguments, told_by_agent(arguments, wanted))
        return Status.DONE
    rows: list[list[str]] = []
    for card in common.manager(arguments).hardware.cards(common.name_of(arguments)):
        if wanted is not None and wanted.lower() != card["mac"] and wanted != card["target"]:
            continue
        found: dict[str, None] = {}
        if arguments.source in (None, "lease"):
            found |= dict.fromkeys(address for mac, address, _ in card["leases"] if mac == card["mac"])
            found |= dict.fromkeys(address for address, _ in leased(card["mac"], Path("/"), LEASES))
        if arguments.source in (None, "arp"):
            found |= dict.fromkeys(neighbours(card["mac"], NEIGHBOURS))
        for index, address in enumerate(found):
            head = (
                [card["target"] or "-", card["mac"]] if index == 0 or arguments.full or arguments.json else ["-", "-"]
            )
            version = ipaddress.ip_address(address).version
            prefix = PREFIXES.get(card["type"], 32 if version == 4 else 128)
            rows.append([*head, f"ipv{version}", f"{address}/{prefix}"])
    show(arguments, rows)
    return Status.DONE


def told_by_agent(arguments: argparse.Namespace, wanted: str | None) -> list[list[str]]:
    """By the guest's own names of its interfaces."""
    rows = []
    for each in common.manager(arguments).agents.interfaces(common.name_of(arguments)):
        if wanted is not None and wanted.lower() != each["mac"].lower() and wanted != each["name"]:
            continue
        for index, (kind, address, prefix) in enumerate(each["addresses"]):
            whole = index == 0 or arguments.full or arguments.json
            rows.append([*([each["name"], each["mac"]] if whole else ["-", "-"]), kind, f"{address}/{prefix}"])
    return rows


def show(arguments: argparse.Namespace, rows: list[list[str]]) -> None:
    """In virsh's columns, which are as wide as they are."""
    if arguments.json:
        common.show_json([dict(zip(("name", "mac", "protocol", "address"), row, strict=True)) for row in rows])
        return
    if not Manner.quiet:
        print(f" {HEADS[0]:<10} {HEADS[1]:<20} {HEADS[2]:<8}     {HEADS[3]}")
        print("-" * 79)
    for name, mac, protocol, address in rows:
        print(f" {name:<10} {mac:<17}    {protocol:<12} {address}")
    print()


def leased(mac: str, root: Path, patterns: tuple[str, ...]) -> list[tuple[str, str | None]]:
    """What dnsmasq has given, IP addresses and hosts' names: a line each, of expiry, address of the card, IP address, name."""
    found = []
    for file in (file for pattern in patterns for file in root.glob(pattern.lstrip("/"))):
        try:
            lines = [line.split() for line in file.read_text().splitlines()]
        except (OSError, UnicodeDecodeError):
            continue  # root's, perhaps
        found += [
            (words[2], words[3] if words[3] != "*" else None)
            for words in lines
            if len(words) >= 4 and words[1].lower() == mac and is_address(words[2])
        ]
    return found


def neighbours(mac: str, table: Path) -> list[str]:
    """Whom the host's kernel has met: IP address, kind, flags, address of the card (proc(5), /proc/net/arp)."""
    try:
        lines = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [
        words[0]
        for words in lines
        if len(words) >= 4 and words[3].lower() == mac and int(words[2], 0) & COMPLETE and is_address(words[0])
    ]


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
