"""`inn domfsinfo`: the file systems that are mounted in a guest."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status

HEADS = ("Mountpoint", "Name", "Type", "Target")


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    found = common.manager(arguments).agents.file_systems(common.name_of(arguments))
    if arguments.json:
        common.show_json(found)
    else:
        rows = [[each["mountpoint"], each["name"], each["type"], ",".join(each["disks"])] for each in found]
        print(common.table(HEADS, rows))
    return Status.DONE
