"""`inn net-name`: a network's name by its UUID."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.networks import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser, "the network's UUID")
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    results.show(arguments, common.networks(arguments).info(common.name_of(arguments))["name"], "name")
    return Status.DONE
