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
    manager, name = common.manager(arguments), common.name_of(arguments)
    ways = {
        modes.ACPI: lambda: manager.hardware.reboot(name),
        modes.AGENT: lambda: manager.agents.shutdown(name, "reboot"),
    }
    name = modes.first([ways[mode] for mode in modes.chosen(arguments)])
    results.say(arguments, f"Domain '{name}' is being rebooted", {"name": name})
    return Status.DONE
