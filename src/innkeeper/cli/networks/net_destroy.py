"""`inn net-destroy`: ends a network and takes away all that was made for it."""

import argparse

from innkeeper.cli.networks import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser)


def execute(arguments: argparse.Namespace) -> int:
    done = common.networks(arguments).destroy(common.name_of(arguments))
    common.tell(done["unknown"], done["notes"])
    say(f"Network {done['name']} destroyed\n")
    return Status.DONE
