"""`inn pool-define`: keeps a storage pool that an XML file describes."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common
from innkeeper.cli.words import tell_unknown


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, {"file": "libvirt's storage pool XML; - is the standard input"})
    parser.add_argument("--validate", action="store_true", help="it is always checked")


def execute(arguments: argparse.Namespace) -> int:
    made = common.pools(arguments).define(common.read(arguments.file))
    tell_unknown(made["unknown"])
    common.say(arguments, f"Pool {made['name']} defined from {arguments.file}", made)
    return Status.DONE
