"""`inn net-name`: a network's name by its UUID."""

import argparse

from innkeeper.cli.networks import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser, "the network's UUID")


def execute(arguments: argparse.Namespace) -> int:
    print(common.networks(arguments).info(common.name_of(arguments))["name"], end="\n\n")
    return Status.DONE
