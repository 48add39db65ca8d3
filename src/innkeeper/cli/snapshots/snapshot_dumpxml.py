"""`inn snapshot-dumpxml`: shows a snapshot's XML."""

import argparse

from innkeeper.cli import xml_output
from innkeeper.cli.snapshots import common
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import put, words


def register(parser: argparse.ArgumentParser) -> None:
    words(parser, common.DOMAIN | common.SNAPSHOT)
    xml_output.options(parser, secrets=True)


def execute(arguments: argparse.Namespace) -> int:
    xml = common.snapshots(arguments).xml(arguments.domain, arguments.snapshotname)
    xml = xml_output.chosen(arguments, xml)
    put(arguments, xml, {"xml": xml})
    return Status.DONE
