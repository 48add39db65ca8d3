"""`inn managedsave-remove`: forgets where a machine was saved; its next start is from the beginning."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    name = common.name_of(arguments)
    was = common.manager(arguments).saves.managed_save_remove(name)
    results.say(
        arguments,
        f"Removed managedsave image for domain '{name}'"
        if was
        else f"Domain '{name}' has no managed save; nothing was removed",
        {"name": name, "removed": was},
    )
    return Status.DONE
