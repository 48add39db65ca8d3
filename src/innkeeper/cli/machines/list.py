"""`inn list`: which machines there are."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.language import translate

if TYPE_CHECKING:
    from innkeeper.manager.domains import Listed

STATES = {"running": "running", "paused": "paused", "shut off": "shutoff"}
"""What the options call them."""


def register(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--all", action="store_true", help="those that are shut off too")
    add("--inactive", action="store_true", help="only those that are shut off")
    add("--autostart", action="store_true", help="only those that start with the manager")
    add("--no-autostart", action="store_true", help="only those that do not")
    add("--persistent", action="store_true", help="only those that stay when they have ended")
    add("--transient", action="store_true", help="only those that do not")
    add("--with-managed-save", action="store_true", help="only those that go on with their next start")
    add("--without-managed-save", action="store_true", help="only those that do not")
    add("--with-snapshot", action="store_true", help="only those that have snapshots")
    add("--without-snapshot", action="store_true", help="only those that have none")
    add("--with-checkpoint", action="store_true", help="only those that have checkpoints: none")
    add("--without-checkpoint", action="store_true", help="only those that have none: all")
    add("--state-running", action="store_true", help="only those that run")
    add("--state-paused", action="store_true", help="only those that stand still")
    add("--state-shutoff", action="store_true", help="only those that are shut off")
    add("--state-other", action="store_true", help="only those that do something else")
    add("--table", action="store_true", help="a table, as is printed anyhow")
    add("--id", action="store_true", help="only the numbers of processes, one a line")
    add("--managed-save", action="store_true", help="say which of those that are shut off were saved")
    add("--name", action="store_true", help="only names, one a line")
    add("--uuid", action="store_true", help="only UUIDs, one a line")
    add("--title", action="store_true", help="titles too")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    machines = common.manager(arguments).domains
    found = [each for each in machines.all(titles=arguments.title) if wanted(arguments, each)]
    if arguments.json:
        common.show_json(found)
    elif arguments.name or arguments.uuid or arguments.id:
        for each in found:
            words = {"name": each["name"], "uuid": each["uuid"] or "-", "id": str(each["id"] or "-")}
            print("  ".join(words[key] for key in ("id", "uuid", "name") if getattr(arguments, key)))
    else:
        heads = ["Id", "Name", "State"]
        rows = [[str(each["id"] or "-"), each["name"], translate(state(arguments, each))] for each in found]
        if arguments.title:
            heads.append("Title")
            for row, each in zip(rows, found, strict=True):
                row.append(each["title"] or "")
        print(common.table(heads, rows))
    return Status.DONE


def state(arguments: argparse.Namespace, each: Listed) -> str:
    return "saved" if arguments.managed_save and each["managed_save"] else each["state"]


def wanted(arguments: argparse.Namespace, each: Listed) -> bool:
    """Whether the options ask for this machine. Of two that contradict, both mean all."""
    given = vars(arguments)
    states = {name for name in STATES if given[f"state_{STATES[name]}"]}
    others = given["state_other"] and each["state"] not in STATES
    pairs = (
        ("autostart", "no_autostart", each["autostart"]),
        ("persistent", "transient", each["persistent"]),
        ("with_managed_save", "without_managed_save", each["managed_save"]),
        ("with_snapshot", "without_snapshot", each["snapshots"]),
        ("with_checkpoint", "without_checkpoint", False),
    )
    return bool(
        (given["all"] or states or given["state_other"] or (each["id"] is not None) != given["inactive"])
        and (not (states or given["state_other"]) or each["state"] in states or others)
        and all(given[yes] == given[no] or given[yes] == is_so for yes, no, is_so in pairs)
    )
