"""`inn attach-interface`: gives a machine another network card."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import changing, common
from innkeeper.cli.parser import operand, refuse
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError

REFUSED = {
    "--script PATH": "no script is run for a card; name a bridge, or make a tap interface and name that",
    "--inbound RATE": "what a card carries cannot be limited; tc(8) does it on its tap interface",
    "--outbound RATE": "what a card carries cannot be limited; tc(8) does it on its tap interface",
    "--managed": "devices of the host cannot be lent to a guest",
    "--source-mode MODE": "cards are on bridges, and not on the host's own interfaces (macvtap)",
}
KINDS = ("bridge", "network", "user", "ethernet")


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "type", f"where its cable leads: {', '.join(KINDS)}")
    operand(parser, "source", "which bridge, network or tap interface", required=False)
    parser.add_argument("--target", metavar="NAME", help="the tap interface, for type ethernet")
    parser.add_argument("--mac", metavar="ADDRESS", help="made up if it is not given")
    parser.add_argument("--model", metavar="MODEL", help="virtio or e1000")
    parser.add_argument("--mtu", metavar="BYTES", help="what the cable carries")
    parser.add_argument("--alias", metavar="NAME", help="what its XML calls it")
    parser.add_argument("--print-xml", action="store_true", help="print the device's XML and change nothing")
    changing.flags(parser)
    refuse(parser, REFUSED)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    kind, source = arguments.type, arguments.source
    if kind not in KINDS:
        raise ConfigError(f"type is {kind!r}; it must be one of {', '.join(KINDS)}")
    if source is None and kind in ("bridge", "network"):
        raise ConfigError(f"source is missing; say which {kind}, as in --source br0")
    options = {name: getattr(arguments, name) for name in ("mac", "model", "target", "mtu", "alias")}
    xml = changing.interface_of(kind, source, **options)
    if arguments.print_xml:
        results.put(arguments, xml, {"xml": xml})
        return Status.DONE
    manager = common.manager(arguments)
    changed = manager.hardware.attach(common.name_of(arguments), xml, changing.flags_of(arguments))
    if changed["live"]:
        common.tell_notes(manager, changed["name"])
    results.say(arguments, "Interface attached successfully", changed)
    return Status.DONE
