"""`inn version`: which Innkeeper this is."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    found = common.manager(arguments).node.version()
    if arguments.json:
        common.show_json(found)
    else:
        say(
            f"Using library: innkeeper {found['innkeeper']}\nRunning hypervisor: innkeeper {found['innkeeper']} on {found['host']}\n"
        )
    return Status.DONE
