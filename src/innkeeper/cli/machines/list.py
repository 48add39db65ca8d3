"""`inn list`: which machines there are."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.machine.names import running
from innkeeper.manager.store import Store


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="those that are shut off too")
    parser.add_argument("--inactive", action="store_true", help="only those that are shut off")
    parser.add_argument("--name", action="store_true", help="only names, one a line")
    parser.add_argument("--autostart", action="store_true", help="only those that start with the manager")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    active = set(running())
    with Store() as store:
        rows = [row for row in store.all() if row.autostart or not arguments.autostart]
    names = {row.name for row in rows}
    if not arguments.autostart:
        names |= active  # those of `inn run --name` are machines too
    wanted = [name for name in sorted(names) if arguments.all or (name in active) != arguments.inactive]
    if arguments.name and not arguments.json:
        print("".join(f"{name}\n" for name in wanted), end="")
        return Status.DONE
    numbers = {name: str(number) for number, name in enumerate(sorted(active), 1)}
    cells = [(numbers.get(name, "-"), name, "running" if name in active else "shut off") for name in wanted]
    common.show(arguments, ("Id", "Name", "State"), cells)
    return Status.DONE
