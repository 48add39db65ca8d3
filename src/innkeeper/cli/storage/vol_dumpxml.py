"""`inn vol-dumpxml`: shows a volume's XML."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.VOLUME)
    common.in_pool(parser)


def execute(arguments: argparse.Namespace) -> int:
    common.fill(arguments)
    xml = common.volumes(arguments).xml(common.absolute(arguments.vol, arguments.pool), arguments.pool)
    common.say(arguments, xml.rstrip("\n"), {"xml": xml})
    return Status.DONE
