"""`inn net-event`: waits for what happens to networks, and says it."""

import argparse

from innkeeper.cli import events
from innkeeper.cli.parser import operand

KINDS = {"lifecycle": "networks"}


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "network", "the network's name or UUID", required=False)
    events.options(parser, KINDS)


def execute(arguments: argparse.Namespace) -> int:
    return events.of_things(
        arguments, KINDS, "network", arguments.network, lambda manager, name: manager.networks.info(name)["name"]
    )
