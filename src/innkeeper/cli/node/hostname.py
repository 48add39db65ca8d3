"""`inn hostname`: the host's name."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    results.show(arguments, common.manager(arguments).node.hostname(), "hostname")
    return Status.DONE
