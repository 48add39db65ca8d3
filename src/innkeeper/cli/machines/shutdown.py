"""`inn shutdown`: asks the guest to shut down by itself."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)


def execute(arguments: argparse.Namespace) -> int:
    name = common.tell(arguments, "power-button")
    print(f"Domain '{name}' is being shutdown\n")
    return Status.DONE
