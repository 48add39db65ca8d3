"""`inn domfsthaw`: lets a guest write to its file systems again that were frozen."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.results import say
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "mountpoint", "the agent thaws all or none", required=False, many=True, metavar="PATH")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    if arguments.mountpoint:
        raise ConfigError("--mountpoint cannot be had here: a guest's agent thaws all file systems or none")
    number = common.manager(arguments).agents.thaw(common.name_of(arguments))
    say(arguments, f"Thawed {number} filesystem(s)", {"thawed": number})
    return Status.DONE
