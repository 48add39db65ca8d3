"""`inn pool-delete`: removes a storage pool's folder."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.POOL)


def execute(arguments: argparse.Namespace) -> int:
    common.act(arguments, lambda pools: pools.delete(arguments.pool), "Pool {} deleted")
    return Status.DONE
