"""`inn domname`: the name of a machine, from its UUID."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)


def execute(arguments: argparse.Namespace) -> int:
    print(common.manager(arguments).domains.info(common.name_of(arguments))["name"] + "\n")
    return Status.DONE
