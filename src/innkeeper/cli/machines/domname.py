"""`inn domname`: the name of a machine, from its UUID."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    results.show(arguments, common.manager(arguments).domains.info(common.name_of(arguments))["name"], "name")
    return Status.DONE
