"""`inn snapshot-list`: which snapshots a machine has."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from innkeeper.cli.snapshots import common
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import rows, words
from innkeeper.errors import ConfigError

if TYPE_CHECKING:
    from innkeeper.manager.snapshots.service import SnapshotInfo

OPTIONS = {
    "--parent": "their parents too",
    "--roots": "only those without parents",
    "--tree": "as a tree of names",
    "--name": "only names, one a line",
    "--topological": "parents before their children",
    "--current": "only those taken after the current one",
    "--descendants": "with --from or --current: all below, not only the next",
    "--leaves": "only those without children",
    "--no-leaves": "only those with children",
    "--metadata": "only those that are kept here: all of them",
    "--no-metadata": "only those that are not: none",
    "--inactive": "only those taken when the machine was shut off",
    "--active": "only those with the machine's memory",
    "--disk-only": "only those of the disks of a machine that ran",
    "--internal": "only those within images",
    "--external": "only those by overlays",
}


def register(parser: argparse.ArgumentParser) -> None:
    for option, meaning in OPTIONS.items():
        parser.add_argument(option, action="store_true", help=meaning)
    words(parser, common.DOMAIN, {"from": "only those taken after this one"})


def execute(arguments: argparse.Namespace) -> int:
    check(arguments)
    snapshots = common.snapshots(arguments)
    everything = topological(snapshots.list(arguments.domain))
    start = getattr(arguments, "from")
    if arguments.current:
        start = snapshots.info(arguments.domain)["name"]
    elif start is not None:
        start = snapshots.info(arguments.domain, start)["name"]
    if arguments.tree and not arguments.json:
        roots = [each["name"] for each in everything if (each["name"] == start if start else each["parent"] is None)]
        print("\n".join(line for root in roots for line in (root, *tree(everything, root), "")))
        return Status.DONE
    found = [each for each in below(everything, start, arguments) if wanted(each, arguments)]
    if not arguments.topological:
        found.sort(key=lambda each: each["name"])
    if arguments.name and not arguments.json:
        print("".join(f"{each['name']}\n" for each in found))
        return Status.DONE
    heads = ["Name", "Creation Time", "State"] + ["Parent"] * arguments.parent
    cells = [[each["name"], when(each), each["state"]] + [each["parent"] or ""] * arguments.parent for each in found]
    rows(arguments, heads, cells, found)
    return Status.DONE


def check(arguments: argparse.Namespace) -> None:
    """Raises `ConfigError` for options that contradict each other."""
    groups = (
        ("parent", "roots", "tree"),
        ("name", "tree"),
        ("from", "current"),
        ("roots", "from"),
        ("roots", "current"),
        *(
            ("tree", each)
            for each in ("leaves", "no_leaves", "inactive", "active", "disk_only", "internal", "external")
        ),
    )
    for group in groups:
        given = [f"--{name.replace('_', '-')}" for name in group if getattr(arguments, name)]
        if len(given) > 1:
            raise ConfigError(f"{given[0]} and {given[1]} exclude each other; give one of both")


def topological(found: list[SnapshotInfo]) -> list[SnapshotInfo]:
    """Parents before their children."""
    ordered: list[SnapshotInfo] = []
    parents: list[str | None] = [None]
    while parents:
        parent = parents.pop(0)
        children = [each for each in found if each["parent"] == parent]
        ordered += children
        parents += [each["name"] for each in children]
    return ordered


def below(found: list[SnapshotInfo], start: str | None, arguments: argparse.Namespace) -> list[SnapshotInfo]:
    if start is None:
        return found
    chosen: list[str | None] = [start]
    kept = []
    for each in found:  # parents come first
        if each["parent"] in chosen:
            kept.append(each)
            if arguments.descendants:
                chosen.append(each["name"])
    return kept


def wanted(each: SnapshotInfo, arguments: argparse.Namespace) -> bool:
    states = {
        "shutoff": arguments.inactive,
        "running": arguments.active,
        "paused": arguments.active,
        "disk-snapshot": arguments.disk_only,
    }
    return (
        (not arguments.roots or each["parent"] is None)
        and (arguments.leaves == arguments.no_leaves or (each["children"] == 0) == arguments.leaves)
        and (not any(states.values()) or states.get(each["state"], False))
        and (
            arguments.internal == arguments.external
            or each["location"] == "internal" * arguments.internal
            or each["location"] == "external" * arguments.external
        )
        and (arguments.metadata or not arguments.no_metadata)
    )


def when(each: SnapshotInfo) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(each["created"]))


def tree(found: list[SnapshotInfo], root: str, indent: str = "") -> list[str]:
    """What virsh draws below a snapshot's name."""
    children = [each for each in found if each["parent"] == root]
    lines = [f"{indent}  |"] if children else []
    for child in children:
        last = child is children[-1]
        lines.append(f"{indent}  +- {child['name']}")
        lines += tree(found, child["name"], indent + ("    " if last else "  | "))
        if last and not child["children"]:
            lines.append(f"{indent}    ")
    return lines
