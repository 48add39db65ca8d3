"""`inn vol-path`: says where a volume is."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.VOLUME)
    common.in_pool(parser)


def execute(arguments: argparse.Namespace) -> int:
    volume = common.volumes(arguments).info(common.absolute(arguments.vol, arguments.pool), arguments.pool)
    common.show(arguments, volume["path"], "path")
    return Status.DONE
