"""`inn vol-list`: which volumes a storage pool has."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common
from innkeeper.manager.storage.sizes import shown


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.POOL)
    parser.add_argument("--details", action="store_true", help="their types and sizes too")


def execute(arguments: argparse.Namespace) -> int:
    found = common.volumes(arguments).list(arguments.pool)
    if arguments.details:
        heads: tuple[str, ...] = ("Name", "Path", "Type", "Capacity", "Allocation")
        cells = [
            [each["name"], each["path"], each["type"], shown(each["capacity"]), shown(each["allocation"])]
            for each in found
        ]
    else:
        heads, cells = ("Name", "Path"), [[each["name"], each["path"]] for each in found]
    common.rows(arguments, heads, cells, found)
    return Status.DONE
