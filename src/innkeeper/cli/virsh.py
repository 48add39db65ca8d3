"""`inn virsh …`: the verbs of machines, where scripts and fingers look for them."""

import argparse

from innkeeper.cli import Parser, load, networks, node, snapshots, storage
from innkeeper.cli.machines import VERBS, connection

ONLY_HERE = {
    "screenshot": "save what a running machine's screen shows",
    "send-key": "press keys in a running machine",
}
"""The plain verbs of these names have arguments of their own."""


class Command(Parser):
    """A verb's parser, which loads the verb when it is the one that was asked for."""

    name: str | None = None

    def load(self) -> None:
        """Idempotent."""
        if self.name is not None:
            verb = load(f"virsh-{self.name}" if self.name in ONLY_HERE else self.name)
            self.name = None
            verb.register(self)
            self.set_defaults(command=verb)


def register(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Commands have the arguments of the plain verbs: inn virsh list --all is inn list --all"
    connection.register(parser, "-c")
    verbs = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Command)
    for name, summary in (VERBS | networks.VERBS | storage.VERBS | snapshots.VERBS | node.VERBS | ONLY_HERE).items():
        each = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        each.name = name


def execute(arguments: argparse.Namespace) -> int:
    connection.check(arguments)
    status: int = arguments.command.execute(arguments)
    return status
