"""`inn domid`: the number of a running machine's process."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    info = common.manager(arguments).domains.info(common.name_of(arguments))
    results.put(arguments, str(info["id"] or "-"), {"id": info["id"]})
    return Status.DONE
