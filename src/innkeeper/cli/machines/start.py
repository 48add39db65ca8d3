"""`inn start`: the machine runs on by itself."""

import argparse

from innkeeper.cli.machines import common, saving, starting
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--force-boot", action="store_true", help="from the beginning, even if it has a managed save")
    saving.around_cache(parser)
    starting.options(parser)


def execute(arguments: argparse.Namespace) -> int:
    manager, name = common.manager(arguments), common.name_of(arguments)
    manager.domains.start(
        name,
        force_boot=arguments.force_boot,
        paused=arguments.paused,
        bypass_cache=arguments.bypass_cache,
        reset_nvram=arguments.reset_nvram,
    )
    with starting.held(arguments, manager, name):
        common.tell_notes(manager, name)
        say(f"Domain '{name}' started\n")
        return starting.go_on(arguments, manager, name)
