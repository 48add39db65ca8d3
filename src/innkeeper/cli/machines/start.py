"""`inn start`: the machine runs on by itself."""

import argparse

from innkeeper.cli.machines import common, console
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--force-boot", action="store_true", help="from the beginning, even if it has a managed save")
    parser.add_argument("--console", action="store_true", help="connect to its serial console at once")


def execute(arguments: argparse.Namespace) -> int:
    manager, name = common.manager(arguments), common.name_of(arguments)
    manager.domains.start(name, force_boot=arguments.force_boot)
    common.tell_notes(manager, name)
    say(f"Domain '{name}' started\n")
    return console.connect(manager, name, console.escape_of(arguments)) if arguments.console else Status.DONE
