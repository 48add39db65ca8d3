"""`inn shutdown`: asks the guest to shut down by itself."""

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
        modes.ACPI: lambda: manager.domains.shutdown(name),
        modes.AGENT: lambda: manager.agents.shutdown(name, "shutdown"),
    }
    name = modes.first([ways[mode] for mode in modes.chosen(arguments)])
    results.say(arguments, f"Domain '{name}' is being shutdown", {"name": name})
    return Status.DONE
