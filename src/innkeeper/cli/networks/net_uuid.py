"""`inn net-uuid`: a network's UUID by its name."""

import argparse

from innkeeper.cli.networks import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser, "the network's name")


def execute(arguments: argparse.Namespace) -> int:
    print(common.networks(arguments).info(common.name_of(arguments))["uuid"], end="\n\n")
    return Status.DONE
