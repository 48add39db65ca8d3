"""`inn resume`: lets a machine go on that stands still."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)


def execute(arguments: argparse.Namespace) -> int:
    name = common.manager(arguments).hardware.resume(common.name_of(arguments))
    say(f"Domain '{name}' resumed\n")
    return Status.DONE
