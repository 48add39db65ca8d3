"""`inn pool-name`: says the name of a storage pool."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.POOL)


def execute(arguments: argparse.Namespace) -> int:
    common.show(arguments, common.pools(arguments).info(arguments.pool)["name"], "name")
    return Status.DONE
