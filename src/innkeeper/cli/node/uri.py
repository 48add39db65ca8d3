"""`inn uri`: whose machines these are."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    results.show(arguments, "innkeeper:///system" if arguments.system else "innkeeper:///session", "uri")
    return Status.DONE
