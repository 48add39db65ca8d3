"""`inn vol-clone`: makes a volume like another."""

import argparse
from pathlib import Path

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.VOLUME | {"newname": "what the new one is called"})
    common.in_pool(parser)
    parser.add_argument("--prealloc-metadata", action="store_true", help="with all of qcow2's tables")
    parser.add_argument(
        "--reflink", action="store_true", help="share blocks with the other; an error where that cannot be"
    )


def execute(arguments: argparse.Namespace) -> int:
    common.fill(arguments)
    work = common.volumes(arguments).clone(
        common.absolute(arguments.vol, arguments.pool),
        arguments.newname,
        arguments.pool,
        reflink=arguments.reflink,
        prealloc_metadata=arguments.prealloc_metadata,
    )
    made = common.follow(f"Cloning to {arguments.newname}", work)
    common.say(arguments, f"Vol {made['name']} cloned from {Path(arguments.vol).name}", made)
    return Status.DONE
