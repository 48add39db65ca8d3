"""`quit` and `exit` in `inn virsh`'s shell."""

import argparse

from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    """There is nothing to choose."""


def execute(arguments: argparse.Namespace) -> int:
    arguments.session.ended = True
    return Status.DONE
