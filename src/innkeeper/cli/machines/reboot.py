"""`inn reboot`: asks the guest to shut down, and starts it again when it has."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import common, modes
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    modes.register(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    modes.check(arguments)
    name = common.manager(arguments).hardware.reboot(common.name_of(arguments))
    results.say(arguments, f"Domain '{name}' is being rebooted", {"name": name})
    return Status.DONE
