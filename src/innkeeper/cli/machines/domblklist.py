"""`inn domblklist`: a machine's disks, as they are now."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--inactive", action="store_true", help="those of the definition, though the machine runs")
    parser.add_argument("--details", action="store_true", help="what kind of disk each is, too")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    disks = common.manager(arguments).hardware.disks(common.name_of(arguments), inactive=arguments.inactive)
    heads: tuple[str, ...] = ("Target", "Source")
    rows = [[disk["target"], disk["source"] or "-"] for disk in disks]
    if arguments.details:
        heads = ("Type", "Device", *heads)
        rows = [["file", disk["device"], *row] for disk, row in zip(disks, rows, strict=True)]
    common.show(arguments, heads, rows)
    return Status.DONE
