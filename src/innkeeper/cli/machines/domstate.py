"""`inn domstate`: whether a machine runs."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.language import translate


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)


def execute(arguments: argparse.Namespace) -> int:
    print(translate(common.manager(arguments).domains.state(common.name_of(arguments))) + "\n")
    return Status.DONE
