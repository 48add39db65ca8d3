"""`inn domifstat`: what has passed through a running machine's network card, as the guest sees it."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "interface", "its MAC address, or its interface on the host")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    wanted = arguments.interface
    cards = common.manager(arguments).hardware.figures(common.name_of(arguments))["cards"]
    found = [card for card in cards if wanted.lower() == card["mac"] or wanted == card["target"]]
    if not found:
        known = ", ".join(card["mac"] for card in cards) or "none at all"
        raise ConfigError(f"the machine has no interface {wanted}; it has {known}")
    facts = {key: value for key, value in found[0].items() if key not in ("target", "mac")}
    if arguments.json:
        common.show_json(facts)
    else:
        print("".join(f"{wanted} {name} {value}\n" for name, value in facts.items()))
    return Status.DONE
