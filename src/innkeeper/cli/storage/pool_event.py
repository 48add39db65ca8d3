"""`inn pool-event`: waits for what happens to storage pools, and says it."""

import argparse

from innkeeper.cli import events
from innkeeper.cli.parser import operand

KINDS = {"lifecycle": "pools", "refresh": "refresh"}


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "pool", "the storage pool's name or UUID", required=False)
    events.options(parser, KINDS)


def execute(arguments: argparse.Namespace) -> int:
    return events.of_things(
        arguments, KINDS, "storage pool", arguments.pool, lambda manager, name: manager.pools.info(name)["name"]
    )
