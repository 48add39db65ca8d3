"""`inn snapshot-delete`: forgets a snapshot; the disks stay as they are now."""

import argparse

from innkeeper.cli.snapshots import common
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import follow, say
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    common.one(parser)
    parser.add_argument("--children", action="store_true", help="and all that were taken after it")
    parser.add_argument("--children-only", action="store_true", help="all that were taken after it, and not itself")
    parser.add_argument("--metadata", action="store_true", help="forget it, and leave what it keeps in the images")


def execute(arguments: argparse.Namespace) -> int:
    name = common.name_of(arguments)
    if arguments.children and arguments.children_only:
        raise ConfigError("--children is with the snapshot itself, and --children-only is without; give one of both")
    work = common.snapshots(arguments).delete(
        arguments.domain,
        name,
        children=arguments.children or arguments.children_only,
        itself=not arguments.children_only,
        metadata_only=arguments.metadata,
    )
    name = follow("Deleting snapshot", work)
    say(arguments, f"Domain snapshot {name} {'children ' * arguments.children_only}deleted", {"name": name})
    return Status.DONE
