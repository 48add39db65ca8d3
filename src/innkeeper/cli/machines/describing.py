"""`inn desc` and `inn net-desc`: title and description, shown, set, or edited."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from innkeeper.cli.editing import edit
from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand, refuse
from innkeeper.cli.status import Status
from innkeeper.cli.words import say

if TYPE_CHECKING:
    from innkeeper.manager.descriptions import Described

Change = Callable[[str, str, str], str]


def options(parser: argparse.ArgumentParser) -> None:
    operand(parser, "new-desc", "the new text", required=False, many=True, metavar="TEXT")
    add = parser.add_argument
    add("--title", action="store_true", help="the title, not the description")
    add("--edit", action="store_true", help="in an editor")
    add("--config", action="store_true", help="as it is kept, which is what there is")
    add("--current", action="store_true", help="the same")
    refuse(parser, {"--live": "what runs is not described apart from its definition"})
    common.as_json(parser)


def execute(arguments: argparse.Namespace, kind: str, found: Described, change: Change) -> int:
    """`kind` is Domain or Network."""
    what = "title" if arguments.title else "description"
    name, now = found["name"], found["title"] if arguments.title else found["description"]
    given, changes = " ".join(arguments.new_desc or ()), bool(arguments.new_desc)
    if arguments.edit:
        changed = edit(given if changes else now, f"{name}.txt", lambda text: change(name, what, text.strip("\n")))
        if changed is None and not (changes and given != now):
            say(f"{kind} {what} not changed\n")
            return Status.DONE
        if changed is None:
            change(name, what, given)
    elif changes:
        change(name, what, given)
    else:
        show(arguments, kind, name, what, now)
        return Status.DONE
    say(f"{kind} {what} updated successfully\n")
    return Status.DONE


def show(arguments: argparse.Namespace, kind: str, name: str, what: str, text: str) -> None:
    if arguments.json:
        common.show_json({"name": name, what: text})
    elif text:
        print(f"{text}\n")
    else:
        say(f"No {what} for {kind.lower()}: {name}\n")
