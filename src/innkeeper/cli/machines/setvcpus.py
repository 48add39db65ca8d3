"""`inn setvcpus`: how many vCPUs a machine has from its next start on."""

import argparse

from innkeeper.cli.machines import changing, common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "count", "how many")
    parser.add_argument("--maximum", action="store_true", help="how many it may have at most")
    changing.flags(parser, persistent=False)


def execute(arguments: argparse.Namespace) -> int:
    count = changing.count_of(arguments.count, "count")
    hardware = common.manager(arguments).hardware
    name, flags = common.name_of(arguments), changing.flags_of(arguments)
    hardware.set_vcpus(name, count, flags, maximum=arguments.maximum)
    return Status.DONE
