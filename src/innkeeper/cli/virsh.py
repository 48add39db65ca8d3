"""`inn virsh …`: the verbs of machines, where scripts and fingers look for them."""

import argparse

from innkeeper.cli.machines import VERBS, connection


def register(parser: argparse.ArgumentParser) -> None:
    from innkeeper.cli import load

    connection.register(parser, "-c")
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in VERBS.items():
        verb = load(name)
        each = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        verb.register(each)
        each.set_defaults(command=verb)


def execute(arguments: argparse.Namespace) -> int:
    connection.check(arguments)
    status: int = arguments.command.execute(arguments)
    return status
