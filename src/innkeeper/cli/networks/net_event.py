"""`inn net-event`: waits for what happens to networks, and says it."""

import argparse

from innkeeper.cli import events
from innkeeper.cli.machines.common import manager
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError

KINDS = {"lifecycle": "networks"}


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "network", "the network's name or UUID", required=False)
    events.options(parser, KINDS)


def execute(arguments: argparse.Namespace) -> int:
    if events.listed(arguments, KINDS):
        return Status.DONE
    if arguments.event is None:
        raise ConfigError("nothing says what to wait for; give --event KIND")
    reached, wanted = manager(arguments), arguments.network
    name = reached.networks.info(wanted)["name"] if wanted is not None else None
    return events.execute(arguments, reached, KINDS, "network", name)
