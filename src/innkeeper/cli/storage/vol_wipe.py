"""`inn vol-wipe`: overwrites what a volume holds."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.VOLUME)
    common.in_pool(parser)
    parser.add_argument(
        "--algorithm", default="zero", metavar="NAME", help="how (default: %(default)s); virsh(1) names them"
    )


def execute(arguments: argparse.Namespace) -> int:
    work = common.volumes(arguments).wipe(
        common.absolute(arguments.vol, arguments.pool), arguments.pool, algorithm=arguments.algorithm
    )
    found = common.follow(f"Wiping {arguments.vol}", work)
    common.say(arguments, f"Vol {found['name']} wiped", found)
    return Status.DONE
