"""`inn pool-create`: starts a storage pool that an XML file describes."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import building, common
from innkeeper.cli.words import tell_unknown


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, {"file": "libvirt's storage pool XML; - is the standard input"})
    building.register(parser)


def execute(arguments: argparse.Namespace) -> int:
    building.check(arguments)
    made = common.pools(arguments).create(common.read(arguments.file), build=arguments.build)
    tell_unknown(made["unknown"])
    common.say(arguments, f"Pool {made['name']} created from {arguments.file}", made)
    return Status.DONE
