"""`inn blockresize`: makes a disk of a running machine larger."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import changing, common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "path", "the disk: its target, as in vda, or its file")
    operand(parser, "size", "in KiB, or with a unit, as in 20G")
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    disk, size = arguments.path, changing.size_of(arguments.size, "size")
    common.manager(arguments).hardware.resize(common.name_of(arguments), disk, size)
    results.say(arguments, f"Block device '{disk}' is resized", {"disk": disk, "size": size})
    return Status.DONE
