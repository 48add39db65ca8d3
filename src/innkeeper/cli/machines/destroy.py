"""`inn destroy`: ends the machine at once, as a power cut does."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)


def execute(arguments: argparse.Namespace) -> int:
    name = common.manager(arguments).domains.destroy(common.name_of(arguments))
    say(f"Domain '{name}' destroyed\n")
    return Status.DONE
