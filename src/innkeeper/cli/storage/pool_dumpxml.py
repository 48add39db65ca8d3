"""`inn pool-dumpxml`: shows a storage pool's XML."""

import argparse

from innkeeper.cli import xml_output
from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.POOL)
    parser.add_argument("--inactive", action="store_true", help="what is kept, without what was measured")
    xml_output.options(parser)


def execute(arguments: argparse.Namespace) -> int:
    xml = common.pools(arguments).xml(arguments.pool, inactive=arguments.inactive)
    xml = xml_output.chosen(arguments, xml)
    common.put(arguments, xml, {"xml": xml + "\n"})
    return Status.DONE
