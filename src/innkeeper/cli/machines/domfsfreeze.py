"""`inn domfsfreeze`: has a guest's file systems be complete on their disks, and stay so until `inn domfsthaw`."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.results import say
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "mountpoint", "only those that are mounted there", required=False, many=True, metavar="PATH")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    number = common.manager(arguments).agents.freeze(common.name_of(arguments), list(arguments.mountpoint))
    say(arguments, f"Froze {number} filesystem(s)", {"frozen": number})
    return Status.DONE
