"""`inn uri`: whose machines these are."""

import argparse

from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    """There is nothing to choose."""


def execute(arguments: argparse.Namespace) -> int:
    print(("innkeeper:///system" if arguments.system else "innkeeper:///session") + "\n")
    return Status.DONE
