"""`inn net-undefine`: forgets a network; an active one stays until it is ended."""

import argparse

from innkeeper.cli.networks import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser)


def execute(arguments: argparse.Namespace) -> int:
    done = common.networks(arguments).undefine(common.name_of(arguments))
    print(f"Network {done['name']} has been undefined\n")
    return Status.DONE
