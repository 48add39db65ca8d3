"""`inn reboot`: asks the guest to shut down, and starts it again when it has."""

import argparse

from innkeeper.cli.machines import common, modes
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    modes.register(parser)


def execute(arguments: argparse.Namespace) -> int:
    modes.check(arguments)
    name = common.manager(arguments).hardware.reboot(common.name_of(arguments))
    say(f"Domain '{name}' is being rebooted\n")
    return Status.DONE
