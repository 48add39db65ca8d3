"""`inn nodememstats`: how much of the host's memory is free."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    operand(
        parser, "cell", "the number of a NUMA node; without one, all together", required=False, type=int, metavar="N"
    )
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    found = common.manager(arguments).node.memory(arguments.cell)
    if arguments.json:
        common.show_json(found)
    else:
        print("".join(f"{name:<7}: {kib:20} KiB\n" for name, kib in found.items()))
    return Status.DONE
