"""`inn managedsave`: saves a running machine where its next start finds it."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import common, saving
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    saving.around_cache(parser)
    saving.going_on(parser)
    saving.verbose(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    name = common.name_of(arguments)
    work = common.manager(arguments).saves.managed_save(
        name, paused=saving.paused(arguments), bypass_cache=arguments.bypass_cache
    )
    name = saving.follow_save(arguments, name, work)
    results.say(arguments, f"\nDomain '{name}' saved until its next start", {"name": name})
    return Status.DONE
