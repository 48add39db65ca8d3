"""`inn shutdown`: asks the guest to shut down by itself."""

import argparse

from innkeeper.cli.machines import common, modes
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    modes.register(parser)


def execute(arguments: argparse.Namespace) -> int:
    modes.check(arguments)
    name = common.manager(arguments).domains.shutdown(common.name_of(arguments))
    say(f"Domain '{name}' is being shutdown\n")
    return Status.DONE
