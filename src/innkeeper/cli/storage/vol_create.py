"""`inn vol-create`: makes a volume that an XML file describes."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common
from innkeeper.cli.words import tell_unknown


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.POOL | {"file": "libvirt's storage volume XML; - is the standard input"})
    parser.add_argument("--validate", action="store_true", help="it is always checked")
    parser.add_argument("--prealloc-metadata", action="store_true", help="with all of qcow2's tables")


def execute(arguments: argparse.Namespace) -> int:
    xml = common.read(arguments.file)
    work = common.volumes(arguments).create(arguments.pool, xml, prealloc_metadata=arguments.prealloc_metadata)
    made = common.follow("Creating volume", work)
    tell_unknown(made["unknown"], kept=False)
    common.say(arguments, f"Vol {made['name']} created from {arguments.file}", made)
    return Status.DONE
