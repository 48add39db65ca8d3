"""`inn pool-undefine`: forgets a storage pool."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.POOL)


def execute(arguments: argparse.Namespace) -> int:
    common.act(arguments, lambda pools: pools.undefine(arguments.pool), "Pool {} has been undefined")
    return Status.DONE
