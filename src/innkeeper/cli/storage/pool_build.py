"""`inn pool-build`: makes a storage pool's folder."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import building, common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.POOL)
    building.overwriting(parser)


def execute(arguments: argparse.Namespace) -> int:
    building.check(arguments)
    common.act(arguments, lambda pools: pools.build(arguments.pool), "Pool {} built")
    return Status.DONE
