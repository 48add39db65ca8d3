"""`inn pool-list`: which storage pools there are."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common
from innkeeper.errors import ConfigError
from innkeeper.manager.storage.sizes import shown

if TYPE_CHECKING:
    from innkeeper.manager.storage.pools import PoolInfo

HEADS = ("Name", "State", "Autostart")
DETAILED = (*HEADS, "Persistent", "Capacity", "Allocation", "Available")
TYPES = (
    "dir", "fs", "netfs", "logical", "disk", "iscsi", "iscsi-direct", "scsi", "mpath", "rbd", "sheepdog", "gluster", "zfs", "vstorage"
)  # fmt: skip


def register(parser: argparse.ArgumentParser) -> None:
    for option, meaning in (
        ("--all", "those that are not active too"),
        ("--inactive", "only those that are not active"),
        ("--persistent", "only those that are kept"),
        ("--transient", "only those that are forgotten when they are stopped"),
        ("--autostart", "only those that start with the host"),
        ("--no-autostart", "only those that do not"),
        ("--details", "their sizes too"),
        ("--uuid", "only UUIDs, one a line"),
        ("--name", "only names, one a line"),
    ):
        parser.add_argument(option, action="store_true", help=meaning)
    common.words(parser, {}, {"type": "only pools of these types, separated by commas"})


def execute(arguments: argparse.Namespace) -> int:
    if arguments.details and (arguments.uuid or arguments.name):
        raise ConfigError("--details is for the table, and --uuid and --name are for lists; give one of both")
    found = [pool for pool in common.pools(arguments).list() if wanted(pool, arguments)]
    if (arguments.uuid or arguments.name) and not arguments.json:
        for pool in found:
            print("  ".join([pool["uuid"]] * arguments.uuid + [pool["name"]] * arguments.name))
        return Status.DONE
    common.rows(arguments, DETAILED if arguments.details else HEADS, [cells(pool, arguments) for pool in found], found)
    return Status.DONE


def wanted(pool: PoolInfo, arguments: argparse.Namespace) -> bool:
    types = arguments.type.split(",") if arguments.type is not None else ["dir"]
    if unknown := [kind for kind in types if kind not in TYPES]:
        raise ConfigError(f"type {unknown[0]!r} is no type of storage pools: {', '.join(TYPES)}")
    return (
        (arguments.all or pool["active"] != arguments.inactive)
        and (arguments.persistent == arguments.transient or pool["persistent"] == arguments.persistent)
        and (arguments.autostart == arguments.no_autostart or pool["autostart"] == arguments.autostart)
        and pool["type"] in types
    )


def cells(pool: PoolInfo, arguments: argparse.Namespace) -> list[str]:
    name, autostart = pool["name"], "yes" if pool["autostart"] else "no"
    if not arguments.details:
        return [name, "active" if pool["active"] else "inactive", autostart]
    persistent = "yes" if pool["persistent"] else "no"
    sizes = (pool["capacity"], pool["allocation"], pool["available"])
    state = "running" if pool["active"] else "inactive"
    return [name, state, autostart, persistent, *("-" if size is None else shown(size) for size in sizes)]
