"""`inn detach-interface`: takes a network card from a machine."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import changing, common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError

KINDS = {"ethernet": "tap", "network": "user"}  # what some are called elsewhere


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "type", "where its cable leads, as for attach-interface")
    operand(parser, "mac", "its address; needed if there is more than one card of the type", required=False)
    parser.add_argument("--print-xml", action="store_true", help="print the card's XML and change nothing")
    changing.flags(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    name, flags = common.name_of(arguments), changing.flags_of(arguments)
    kind, mac, kept = arguments.type, arguments.mac, changing.kept_one(flags)
    manager = common.manager(arguments)
    hardware = manager.hardware
    if mac is None:
        cards = hardware.cards(name, inactive=kept)
        found = [card for card in cards if card["type"] in (kind, KINDS.get(kind))]
        if len(found) != 1:
            how = f"has {len(found)} of them; say which with --mac" if found else "has none"
            raise ConfigError(f"which interface of type {kind} is meant: machine {name} {how}")
        mac = found[0]["mac"]
    if arguments.print_xml:
        from innkeeper.manager.changes import find_interface

        xml = changing.kept_device(hardware.xml(name, inactive=kept), lambda root: find_interface(root, mac))
        results.put(arguments, xml, {"xml": xml})
        return Status.DONE
    changed = hardware.detach(name, changing.interface_of(kind, None, mac=mac), flags)
    changing.tell(arguments, changed, "Interface", "detached")
    return Status.DONE
