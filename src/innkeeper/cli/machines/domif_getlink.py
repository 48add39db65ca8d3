"""`inn domif-getlink`: whether a network card's cable is plugged in."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "interface", "its MAC address, or its interface on the host")
    parser.add_argument("--config", action="store_true", help="what the definition says")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    wanted = arguments.interface
    cards = common.manager(arguments).hardware.cards(common.name_of(arguments), inactive=arguments.config)
    found = [card for card in cards if wanted.lower() == card["mac"].lower() or wanted == card["target"]]
    if not found:
        known = ", ".join(card["mac"] for card in cards) or "none at all"
        raise ConfigError(f"the machine has no interface {wanted}; it has {known}")
    if arguments.json:
        common.show_json({"interface": wanted, "state": found[0]["link"]})
    else:
        print(f"{wanted} {found[0]['link']}\n")
    return Status.DONE
