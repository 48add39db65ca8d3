"""`inn pool-refresh`: removes what was left unfinished in a storage pool."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.POOL)


def execute(arguments: argparse.Namespace) -> int:
    common.act(arguments, lambda pools: pools.refresh(arguments.pool), "Pool {} refreshed")
    return Status.DONE
