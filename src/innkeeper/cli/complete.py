"""`inn complete -- WORDS`: how the last of some words could go on, one possibility a line; `/` where a file is meant.

Verbs and options are those of the commands' own parsers; names of machines, networks, pools and volumes are asked of the manager.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from innkeeper.cli.machines import connection
from innkeeper.cli.parser import Parser, Refusal
from innkeeper.cli.status import Status
from innkeeper.errors import InnkeeperError
from innkeeper.manager.client import connect

if TYPE_CHECKING:
    from innkeeper.manager.service import Manager

FILE = "/"
FILES = ("FILE", "PATH", "ISO", "DIR")
NAMES: dict[str, Callable[[Manager], Iterable[str]]] = {
    "domain": lambda manager: (each["name"] for each in manager.domains.all()),
    "network": lambda manager: (each["name"] for each in manager.networks.list()),
    "pool": lambda manager: (each["name"] for each in manager.pools.list()),
}
"""By what an argument is called."""


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="WORD", help="a command line without inn; the last may be empty")


def execute(arguments: argparse.Namespace) -> int:
    for possibility in possibilities(arguments.words or [""]):
        print(possibility)
    return Status.DONE


def possibilities(words: Sequence[str], *, system: bool = False) -> list[str]:
    """What may stand in the last word's place. None where nothing is known. `system` is what is meant if no word says it."""
    from innkeeper.cli import make_parser

    *before, last = words
    system = is_system(before, by_itself=system)
    parser: argparse.ArgumentParser = make_parser(before)
    given: list[str] = []  # since the last verb
    for word in before:
        inner = verbs_of(parser).get(word)
        given = [*given, word] if inner is None else []
        parser = inner or parser
        if isinstance(parser, Parser):
            parser.load()
    if last.startswith("-"):
        found: Iterable[str] = (
            name
            for action in parser._actions  # noqa: SLF001
            if not isinstance(action, Refusal)
            for name in action.option_strings
        )
    else:
        found = verbs_of(parser) or values(parser, given, system=system)
    return sorted(word for word in found if word.startswith(last) or word == FILE)


def verbs_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """Those that a parser goes on with, by their names."""
    if isinstance(parser, Parser) and parser.commands is not None:
        return parser.commands
    for action in parser._actions:  # noqa: SLF001 - argparse tells nobody
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    return {}


def is_system(words: Sequence[str], *, by_itself: bool) -> bool:
    """Whether names of the host's things are meant.

    >>> is_system(["virsh", "-c", "qemu:///system", "start"], by_itself=False), is_system(["start"], by_itself=False)
    (True, False)
    """
    from innkeeper.cli.virsh import URI

    known = connection.SESSION + connection.SYSTEM
    named = [word.removeprefix("--connect=") for word in words if word.removeprefix("--connect=") in known]
    if named:
        return named[-1] in connection.SYSTEM
    by_environment = "virsh" in words and os.environ.get(URI) in connection.SYSTEM
    return by_itself or "--system" in words or by_environment


def values(parser: argparse.ArgumentParser, given: Sequence[str], *, system: bool) -> list[str]:
    """Of the option before, or of the first argument in line that is not given yet."""
    actions = parser._actions  # noqa: SLF001
    taking = {name: action for action in actions for name in action.option_strings if action.nargs != 0}
    asked = [taking[given[-1]]] if given and given[-1] in taking else []
    named = {taking[word].dest for word in given if word in taking}
    arguments = [action for action in actions if not action.option_strings and action.dest not in named]
    before = [None, *given]  # each word's own
    at = len(
        [word for word, last in zip(given, before, strict=False) if not word.startswith("-") and last not in taking]
    )
    last = [action for action in arguments[-1:] if action.nargs in (argparse.ONE_OR_MORE, argparse.ZERO_OR_MORE)]
    for action in asked or arguments[at : at + 1] or last:
        if action.choices is not None:
            return [str(choice) for choice in action.choices]
        if action.dest in NAMES:
            return names(action.dest, system=system)
        return [FILE] if action.metavar in FILES else []
    return []


def names(kind: str, *, system: bool) -> list[str]:
    """What there is of a kind. Nothing, if the manager cannot be asked: nobody wants to read of it here."""
    try:
        with connect(system=system) as manager:
            return list(NAMES[kind](manager))
    except InnkeeperError:
        return []
