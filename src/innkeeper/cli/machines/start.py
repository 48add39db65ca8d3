"""`inn start`: the machine runs on by itself."""

import argparse

from innkeeper.cli.machines import common, console
from innkeeper.cli.status import Status
from innkeeper.manager import host


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--console", action="store_true", help="connect to its serial console at once")


def execute(arguments: argparse.Namespace) -> int:
    row = common.kept(arguments)
    host.start(row.name, row.xml)
    print(f"Domain '{row.name}' started\n")
    return console.connect(row.name) if arguments.console else Status.DONE
