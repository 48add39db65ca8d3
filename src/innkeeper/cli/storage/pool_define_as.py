"""`inn pool-define-as`: keeps a storage pool."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common, describing


def register(parser: argparse.ArgumentParser) -> None:
    describing.register(parser)


def execute(arguments: argparse.Namespace) -> int:
    xml = describing.document(arguments)
    if arguments.print_xml:
        common.put(arguments, xml.rstrip("\n"), {"xml": xml})
        return Status.DONE
    made = common.pools(arguments).define(xml)
    common.say(arguments, f"Pool {made['name']} defined", made)
    return Status.DONE
