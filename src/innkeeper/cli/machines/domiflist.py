"""`inn domiflist`: a machine's network interfaces, as they are now."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--inactive", action="store_true", help="those of the definition, though the machine runs")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    cards = common.manager(arguments).hardware.cards(common.name_of(arguments), inactive=arguments.inactive)
    keys = ("target", "type", "source", "model", "mac")
    rows = [[card[key] or "-" for key in keys] for card in cards]  # type: ignore[literal-required] # as named above
    common.show(arguments, ("Interface", "Type", "Source", "Model", "MAC"), rows)
    return Status.DONE
