"""`pwd` in `inn virsh`'s shell."""

import argparse
from pathlib import Path

from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    """There is nothing to choose."""


def execute(_arguments: argparse.Namespace) -> int:
    print(f"{Path.cwd()}\n")
    return Status.DONE
