"""`inn qemu-agent-command`: a command for a guest's agent, in its own words."""

import argparse
import json

from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError

PATIENCE_S, LONGEST_S, SHORT_S = 60, 24 * 3600, 5


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "cmd", "the command, as JSON", many=True, metavar="COMMAND")
    how = parser.add_mutually_exclusive_group().add_argument
    how("--timeout", type=int, metavar="SECONDS", help="how long to wait for an answer")
    how("--async", dest="at_once", action="store_true", help="wait a short while only")
    how("--block", action="store_true", help="wait for as long as it takes")
    parser.add_argument("--pretty", action="store_true", help="show the answer for people")
    parser.add_argument("--json", action="store_true", help="print JSON, which it is anyway")


def execute(arguments: argparse.Namespace) -> int:
    if arguments.timeout is not None and arguments.timeout <= 0:
        raise ConfigError(f"timeout is {arguments.timeout}; it must be at least 1 s")
    patience = LONGEST_S if arguments.block else SHORT_S if arguments.at_once else arguments.timeout or PATIENCE_S
    answer = common.manager(arguments).agents.command(
        common.name_of(arguments), " ".join(arguments.cmd), timeout_s=patience
    )
    print(json.dumps({"return": answer}, indent=2 if arguments.pretty else None) + "\n")
    return Status.DONE
