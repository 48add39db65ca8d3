"""`inn setmem`: how much memory a guest is left with."""

import argparse

from innkeeper.cli.machines import changing, common
from innkeeper.cli.status import Status

KIB = 1024


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    changing.operand(parser, "size", "in KiB, or with a unit, as in 2G")
    changing.flags(parser, persistent=False)


def execute(arguments: argparse.Namespace) -> int:
    size = changing.size_of(changing.word(arguments, "size"), "size")
    hardware = common.manager(arguments).hardware
    hardware.set_memory(common.name_of(arguments), size // KIB, changing.flags_of(arguments))
    return Status.DONE
