"""`inn net-desc`: a network's title or description, shown, set, or edited."""

import argparse

from innkeeper.cli.machines import describing
from innkeeper.cli.machines.common import manager
from innkeeper.cli.networks import common


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser)
    describing.options(parser)


def execute(arguments: argparse.Namespace) -> int:
    descriptions = manager(arguments).descriptions
    found = descriptions.network(common.name_of(arguments))
    return describing.execute(arguments, "Network", found, descriptions.describe_network)
