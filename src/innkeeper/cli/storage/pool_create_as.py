"""`inn pool-create-as`: starts a storage pool."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import building, common, describing


def register(parser: argparse.ArgumentParser) -> None:
    describing.register(parser)
    building.register(parser)


def execute(arguments: argparse.Namespace) -> int:
    building.check(arguments)
    xml = describing.document(arguments)
    if arguments.print_xml:
        common.put(arguments, xml.rstrip("\n"), {"xml": xml})
        return Status.DONE
    made = common.pools(arguments).create(xml, build=arguments.build)
    common.say(arguments, f"Pool {made['name']} created", made)
    return Status.DONE
