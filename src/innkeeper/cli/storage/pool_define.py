"""`inn pool-define`: keeps a storage pool that an XML file describes."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, {"file": "libvirt's storage pool XML; - is the standard input"})


def execute(arguments: argparse.Namespace) -> int:

    common.fill(arguments)
    made = common.pools(arguments).define(common.read(arguments.file))
    common.tell_unknown(made["unknown"], kept=True)
    common.say(arguments, f"Pool {made['name']} defined from {arguments.file}", made)
    return Status.DONE
