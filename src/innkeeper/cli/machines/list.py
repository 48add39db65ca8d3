"""`inn list`: which machines there are."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.language import translate

if TYPE_CHECKING:
    from innkeeper.manager.domains import Listed


def register(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--all", action="store_true", help="those that are shut off too")
    add("--inactive", action="store_true", help="only those that are shut off")
    add("--autostart", action="store_true", help="only those that start with the manager")
    add("--no-autostart", action="store_true", help="only those that do not")
    add("--persistent", action="store_true", help="only those that stay when they have ended")
    add("--transient", action="store_true", help="only those that do not")
    add("--name", action="store_true", help="only names, one a line")
    add("--uuid", action="store_true", help="only UUIDs, one a line")
    add("--title", action="store_true", help="titles too")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    machines = common.manager(arguments).domains
    found = [each for each in machines.all(titles=arguments.title) if wanted(arguments, each)]
    if arguments.json:
        common.show_json(found)
    elif arguments.name or arguments.uuid:
        words = [each["name"] if arguments.name else each["uuid"] or "-" for each in found]
        print("".join(f"{word}\n" for word in words), end="")
    else:
        heads = ["Id", "Name", "State"]
        rows = [[str(each["id"] or "-"), each["name"], translate(each["state"])] for each in found]
        if arguments.title:
            heads.append("Title")
            for row, each in zip(rows, found, strict=True):
                row.append(each["title"] or "")
        print(common.table(heads, rows))
    return Status.DONE


def wanted(arguments: argparse.Namespace, each: Listed) -> bool:
    """Whether the options ask for this machine."""
    shown = arguments.all or (each["id"] is not None) != arguments.inactive
    marked = (each["autostart"] or not arguments.autostart) and not (each["autostart"] and arguments.no_autostart)
    kept = (each["persistent"] or not arguments.persistent) and not (each["persistent"] and arguments.transient)
    return bool(shown and marked and kept)
