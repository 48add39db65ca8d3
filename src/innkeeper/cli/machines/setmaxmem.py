"""`inn setmaxmem`: how much memory a machine has."""

import argparse

from innkeeper.cli.machines import changing, common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    changing.memory(parser)


def execute(arguments: argparse.Namespace) -> int:
    hardware = common.manager(arguments).hardware
    changed = hardware.set_maximum_memory(
        common.name_of(arguments), changing.kib_of(arguments), changing.flags_of(arguments)
    )
    if arguments.json:
        common.show_json(changed)
    return Status.DONE
