"""`inn set-user-password`: gives a user of a guest another password, by the guest's agent."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.results import say
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "user", "the user's name in the guest")
    operand(parser, "password", "the new password")
    parser.add_argument(
        "--encrypted", action="store_true", help="it is encrypted already, as the guest keeps passwords"
    )
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    name = common.name_of(arguments)
    common.manager(arguments).agents.set_password(
        name, arguments.user, arguments.password, encrypted=arguments.encrypted
    )
    say(arguments, f"Password set successfully for {arguments.user} in {name}", {"name": name, "user": arguments.user})
    return Status.DONE
