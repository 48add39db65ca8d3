"""`connect` in `inn virsh`'s shell: whose machines the next commands are about."""

import argparse

from innkeeper.cli.machines import common, connection
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "name", "qemu:///session or qemu:///system; without one, what the shell began with", required=False)
    parser.add_argument("--readonly", action="store_true", help="only commands that change nothing")


def execute(arguments: argparse.Namespace) -> int:
    session = arguments.session
    system = session.began_with if arguments.name is None else connection.is_system(arguments.name)
    arguments.system = system
    common.manager(arguments)  # or it cannot be reached, and all stays as it is
    session.system, session.readonly = system, arguments.readonly
    return Status.DONE
