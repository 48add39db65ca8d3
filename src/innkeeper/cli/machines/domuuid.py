"""`inn domuuid`: the UUID of a machine."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)


def execute(arguments: argparse.Namespace) -> int:
    print(common.manager(arguments).domains.info(common.name_of(arguments))["uuid"] + "\n")
    return Status.DONE
