"""What the machines' verbs have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

from innkeeper.cli.parser import operand
from innkeeper.cli.results import as_json, show_json
from innkeeper.cli.words import Manner, say
from innkeeper.errors import HostError
from innkeeper.language import translate
from innkeeper.manager.client import connect

if TYPE_CHECKING:
    from innkeeper.manager.service import Manager

__all__ = [
    "as_json",
    "ask",
    "domain",
    "facts_text",
    "manager",
    "name_of",
    "show",
    "show_facts",
    "show_json",
    "table",
    "tell_notes",
]


def manager(arguments: argparse.Namespace) -> Manager:
    """The manager that the command line means. It is hung up on when the command ends."""
    reached = connect(system=arguments.system)
    arguments.held.callback(reached.close)
    return reached


def ask(arguments: argparse.Namespace, do: str, **values: object) -> Any:
    """What the machine that is named answers to a command of its control socket. Raises `HostError` unless it runs."""
    return manager(arguments).domains.control(name_of(arguments), do, values)


def tell_notes(manager: Manager, name: str) -> None:
    """Where a machine's cables lead elsewhere than was asked for."""
    try:
        cards = manager.hardware.cards(name)
    except HostError:
        return  # it has ended meanwhile
    for card in cards:
        if card["note"]:
            say(card["note"], file=sys.stderr)


def domain(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """The machine that a verb is about."""
    operand(parser, "domain", "the machine's name or UUID", required=required, metavar="NAME")


def name_of(arguments: argparse.Namespace) -> str:
    return str(arguments.domain)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As virsh prints one.

    >>> print(table(("Name", "State"), [("a", "running")]), end="")
     Name   State
    -----------------
     a      running
    """
    heads = [translate(head) for head in heads]
    widths = [max(width(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
    lines = [
        " " + "   ".join(padded(cell, wide) for cell, wide in zip(row, widths, strict=True)) for row in [heads, *rows]
    ]
    rule = "-" * (sum(widths) + 3 * len(widths))
    head = [] if Manner.quiet else [lines[0].rstrip(), rule]
    return "\n".join([*head, *(line.rstrip() for line in lines[1:])]) + "\n"


def width(text: str) -> int:
    """In columns of a terminal (Unicode Standard Annex 11).

    >>> width("名称 a")
    6
    """
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def padded(text: str, columns: int) -> str:
    return text + " " * (columns - width(text))


def show(arguments: argparse.Namespace, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table, or the same as JSON."""
    if arguments.json:
        keys = [head.lower().replace(" ", "_") for head in heads]
        show_json([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        print(table(heads, rows))


def show_facts(arguments: argparse.Namespace, facts: dict[str, str], *, columns: int = 15) -> None:
    """A name and a value a line, as virsh's `*info` print them, or the same as JSON."""
    if arguments.json:
        show_json(facts)
    else:
        print(facts_text(facts, columns=columns))


def facts_text(facts: Mapping[str, object], *, columns: int = 15) -> str:
    """The same, to be printed."""
    return "".join(f"{padded(translate(name) + ':', columns)} {value}\n" for name, value in facts.items())
