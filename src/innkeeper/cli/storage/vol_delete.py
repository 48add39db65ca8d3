"""`inn vol-delete`: removes a volume."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.VOLUME)
    common.in_pool(parser)
    parser.add_argument(
        "--delete-snapshots", action="store_true", help="those within the image, which go with it anyway"
    )


def execute(arguments: argparse.Namespace) -> int:
    name = common.volumes(arguments).delete(common.absolute(arguments.vol, arguments.pool), arguments.pool)
    common.say(arguments, f"Vol {name} deleted", {"name": name})
    return Status.DONE
