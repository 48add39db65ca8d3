"""`inn net-create`: starts a network that an XML file describes, without keeping it."""

import argparse

from innkeeper.cli import documents, results
from innkeeper.cli.networks import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "file", "libvirt's network XML")
    parser.add_argument("--validate", action="store_true", help="it is always checked")
    common.owner(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    done = common.networks(arguments).create(documents.read(arguments.file), common.user_of(arguments))
    common.tell(done["unknown"], done["notes"])
    results.say(arguments, f"Network {done['name']} created from {arguments.file}", done)
    return Status.DONE
