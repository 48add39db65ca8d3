"""`inn domuuid`: the UUID of a machine."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    results.show(arguments, common.manager(arguments).domains.info(common.name_of(arguments))["uuid"], "uuid")
    return Status.DONE
