"""`inn pool-event`: waits for what happens to storage pools, and says it."""

import argparse

from innkeeper.cli import events
from innkeeper.cli.machines.common import manager
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError

KINDS = {"lifecycle": "pools", "refresh": "refresh"}


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "pool", "the storage pool's name or UUID", required=False)
    events.options(parser, KINDS)


def execute(arguments: argparse.Namespace) -> int:
    if events.listed(arguments, KINDS):
        return Status.DONE
    if arguments.event is None:
        raise ConfigError("nothing says what to wait for; give --event KIND")
    reached, wanted = manager(arguments), arguments.pool
    name = reached.pools.info(wanted)["name"] if wanted is not None else None
    return events.execute(arguments, reached, KINDS, "storage pool", name)
