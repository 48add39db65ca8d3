"""`inn dumpxml`: a machine's XML, as it is kept."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)


def execute(arguments: argparse.Namespace) -> int:
    print(common.manager(arguments).domains.xml(common.name_of(arguments)), end="")
    return Status.DONE
