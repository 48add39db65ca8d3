"""`inn hostname`: the host's name."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    """There is nothing to choose."""


def execute(arguments: argparse.Namespace) -> int:
    print(common.manager(arguments).node.hostname() + "\n")
    return Status.DONE
