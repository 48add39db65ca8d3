"""`inn vol-pool`: says which storage pool a volume is in."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.VOLUME)
    parser.add_argument("--uuid", action="store_true", help="its UUID instead of its name")


def execute(arguments: argparse.Namespace) -> int:
    name = common.volumes(arguments).info(common.absolute(arguments.vol))["pool"]
    if arguments.uuid:
        common.show(arguments, common.pools(arguments).info(name)["uuid"], "uuid")
    else:
        common.show(arguments, name, "pool")
    return Status.DONE
