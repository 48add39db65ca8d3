"""`inn virsh …`: the verbs of machines, where scripts and fingers look for them. Connections are not needed: `-c` is refused but for this user's own."""

import argparse

from innkeeper.cli.machines import VERBS
from innkeeper.errors import ConfigError

OWN_CONNECTIONS = ("qemu:///session", "qemu:///system", "innkeeper:///session")


def register(parser: argparse.ArgumentParser) -> None:
    from innkeeper.cli import load

    parser.add_argument(
        "-c", "--connect", metavar="URI", help="this user's machines, whatever it says: qemu:///session"
    )
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in VERBS.items():
        verb = load(name)
        each = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        verb.register(each)
        each.set_defaults(command=verb)


def execute(arguments: argparse.Namespace) -> int:
    if arguments.connect is not None and arguments.connect not in OWN_CONNECTIONS:
        raise ConfigError(
            f"connect is {arguments.connect!r}; machines are this user's own: {', '.join(OWN_CONNECTIONS)}"
        )
    status: int = arguments.command.execute(arguments)
    return status
