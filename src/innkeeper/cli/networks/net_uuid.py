"""`inn net-uuid`: a network's UUID by its name."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.networks import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser, "the network's name")
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    results.show(arguments, common.networks(arguments).info(common.name_of(arguments))["uuid"], "uuid")
    return Status.DONE
