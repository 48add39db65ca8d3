"""`inn start`: the machine runs on by itself."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import common, saving, starting


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--force-boot", action="store_true", help="from the beginning, even if it has a managed save")
    saving.around_cache(parser)
    starting.options(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    manager, name = common.manager(arguments), common.name_of(arguments)
    process = manager.domains.start(
        name,
        force_boot=arguments.force_boot,
        paused=arguments.paused,
        bypass_cache=arguments.bypass_cache,
        reset_nvram=arguments.reset_nvram,
    )
    with starting.held(arguments, manager, name):
        common.tell_notes(manager, name)
        results.say(arguments, f"Domain '{name}' started", {"name": name, "id": process})
        return starting.go_on(arguments, manager, name)
