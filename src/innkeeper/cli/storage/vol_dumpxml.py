"""`inn vol-dumpxml`: shows a volume's XML."""

import argparse

from innkeeper.cli import xml_output
from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.VOLUME)
    common.in_pool(parser)
    xml_output.options(parser)


def execute(arguments: argparse.Namespace) -> int:
    xml = common.volumes(arguments).xml(common.absolute(arguments.vol, arguments.pool), arguments.pool)
    xml = xml_output.chosen(arguments, xml)
    common.put(arguments, xml, {"xml": xml + "\n"})
    return Status.DONE
