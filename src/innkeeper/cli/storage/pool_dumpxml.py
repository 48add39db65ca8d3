"""`inn pool-dumpxml`: shows a storage pool's XML."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.POOL)
    parser.add_argument("--inactive", action="store_true", help="what is kept, without what was measured")


def execute(arguments: argparse.Namespace) -> int:
    common.fill(arguments)
    xml = common.pools(arguments).xml(arguments.pool, inactive=arguments.inactive)
    common.say(arguments, xml.rstrip("\n"), {"xml": xml})
    return Status.DONE
