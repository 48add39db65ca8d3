"""`inn suspend`: has a machine stand still, all of it in memory."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)


def execute(arguments: argparse.Namespace) -> int:
    name = common.manager(arguments).hardware.suspend(common.name_of(arguments))
    say(f"Domain '{name}' suspended\n")
    return Status.DONE
