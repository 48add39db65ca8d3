"""`inn domif-setlink`: plugs a network card's cable in, or pulls it."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import changing, common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "interface", "its MAC address, or its interface on the host")
    operand(parser, "state", "up or down")
    parser.add_argument(
        "--print-xml", action="store_true", help="print the card's XML as it would be, and change nothing"
    )
    changing.flags(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    card, state = arguments.interface, arguments.state
    if state not in ("up", "down"):
        raise ConfigError(f"state is {state!r}; it must be up or down")
    name, flags = common.name_of(arguments), changing.flags_of(arguments)
    manager = common.manager(arguments)
    if arguments.print_xml:
        from innkeeper.manager import changes

        changed = changes.set_link(
            manager.hardware.xml(name, inactive=changing.kept_one(flags)), card, up=state == "up"
        )
        xml = changing.kept_device(changed, lambda root: changes.find_interface(root, card))
        results.put(arguments, xml, {"xml": xml})
        return Status.DONE
    done = manager.hardware.set_link(name, card, flags, up=state == "up")
    results.say(arguments, "Device updated successfully", done)
    return Status.DONE
