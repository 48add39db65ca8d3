"""`inn net-define`: keeps a network that an XML file describes."""

import argparse

from innkeeper.cli import documents
from innkeeper.cli.networks import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "file", "libvirt's network XML")
    parser.add_argument("--validate", action="store_true", help="it is always checked")


def execute(arguments: argparse.Namespace) -> int:
    done = common.networks(arguments).define(documents.read(arguments.file))
    common.tell(done["unknown"], done["notes"])
    say(f"Network {done['name']} defined from {arguments.file}\n")
    return Status.DONE
