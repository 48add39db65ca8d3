"""`inn snapshot-dumpxml`: shows a snapshot's XML."""

import argparse

from innkeeper.cli.snapshots import common
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import fill, say, words


def register(parser: argparse.ArgumentParser) -> None:
    words(parser, common.DOMAIN | common.SNAPSHOT)
    parser.add_argument("--security-info", action="store_true", help="passwords too: they are shown anyway")


def execute(arguments: argparse.Namespace) -> int:
    fill(arguments)
    xml = common.snapshots(arguments).xml(arguments.domain, arguments.snapshotname)
    say(arguments, xml.rstrip("\n"), {"xml": xml})
    return Status.DONE
