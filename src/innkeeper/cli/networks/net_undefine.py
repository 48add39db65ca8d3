"""`inn net-undefine`: forgets a network; an active one stays until it is ended."""

import argparse

from innkeeper.cli.networks import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser)


def execute(arguments: argparse.Namespace) -> int:
    done = common.networks(arguments).undefine(common.name_of(arguments))
    say(f"Network {done['name']} has been undefined\n")
    return Status.DONE
