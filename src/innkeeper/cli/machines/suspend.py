"""`inn suspend`: has a machine stand still, all of it in memory."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    name = common.manager(arguments).hardware.suspend(common.name_of(arguments))
    results.say(arguments, f"Domain '{name}' suspended", {"name": name})
    return Status.DONE
