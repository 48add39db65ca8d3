"""`inn net-list`: which networks there are."""

import argparse

from innkeeper.cli.machines.common import as_json, show_json, table
from innkeeper.cli.networks import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--all", action="store_true", help="those that are inactive too")
    add("--inactive", action="store_true", help="only those that are inactive")
    add("--persistent", action="store_true", help="only those that are kept")
    add("--transient", action="store_true", help="only those that are not kept")
    add("--autostart", action="store_true", help="only those that start with the manager")
    add("--no-autostart", action="store_true", help="only those that do not")
    add("--name", action="store_true", help="only names, one a line")
    add("--uuid", action="store_true", help="only UUIDs, one a line")
    add("--table", action="store_true", help="a table, as is printed anyhow")
    as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    found = [
        it
        for it in common.networks(arguments).list()
        if (arguments.all or it["active"] != arguments.inactive)
        and (arguments.persistent == arguments.transient or it["persistent"] == arguments.persistent)
        and (arguments.autostart == arguments.no_autostart or it["autostart"] == arguments.autostart)
    ]
    if arguments.json:
        show_json(found)
    elif arguments.name or arguments.uuid:
        print("".join(f"{it['name'] if arguments.name else it['uuid']}\n" for it in found), end="")
    else:
        rows = [
            (it["name"], "active" if it["active"] else "inactive", yes(it["autostart"]), yes(it["persistent"]))
            for it in found
        ]
        print(table(("Name", "State", "Autostart", "Persistent"), rows))
    return Status.DONE


def yes(word: bool) -> str:  # noqa: FBT001 - it is about one
    return "yes" if word else "no"
