"""`inn pool-start`: starts a storage pool."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import building, common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.POOL)
    building.register(parser)


def execute(arguments: argparse.Namespace) -> int:
    building.check(arguments)
    common.act(arguments, lambda pools: pools.start(arguments.pool, build=arguments.build), "Pool {} started")
    return Status.DONE
