"""`inn restore`: a machine goes on where it was saved to a file."""

import argparse
from pathlib import Path

from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "file", "what inn save wrote", type=Path)


def execute(arguments: argparse.Namespace) -> int:
    common.manager(arguments).saves.restore(str(arguments.file.absolute()))  # the manager works elsewhere
    say(f"Domain restored from {arguments.file}\n")
    return Status.DONE
