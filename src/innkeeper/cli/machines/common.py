"""What the machines' verbs have in common."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from innkeeper.errors import ConfigError, HostError
from innkeeper.machine.control import ask
from innkeeper.machine.names import control_of, running
from innkeeper.manager.store import Row, Store


def domain(parser: argparse.ArgumentParser) -> None:
    """The machine that a verb is about. virsh's `--domain NAME` says the same."""
    parser.add_argument("domain", nargs="?", metavar="NAME", help="the machine's name or UUID")
    parser.add_argument("--domain", dest="named", metavar="NAME", help=argparse.SUPPRESS)


def name_of(arguments: argparse.Namespace) -> str:
    """Raises `ConfigError` unless exactly one machine is named."""
    given = [name for name in (arguments.domain, arguments.named) if name is not None]
    if len(given) != 1:
        raise ConfigError("no machine is named; say which" if not given else "two machines are named; say which one")
    return str(given[0])


def kept(arguments: argparse.Namespace) -> Row:
    """The definition of the machine that is named. Raises `ConfigError` if there is none."""
    with Store() as store:
        return store.get(name_of(arguments))


def state(name: str) -> str:
    return "running" if name in running() else "shut off"


def running_name(arguments: argparse.Namespace) -> str:
    """The machine that is named, be it kept or just running. Raises `InnkeeperError` unless it runs."""
    name = name_of(arguments)
    if name not in running():
        name = kept(arguments).name  # by its UUID, perhaps
    if name not in running():
        raise HostError(f"machine {name} does not run; inn start {name} starts it")
    return name


def tell(arguments: argparse.Namespace, do: str) -> str:
    """Has a running machine do something; returns its name."""
    name = running_name(arguments)
    ask(control_of(name), do)
    return name


def as_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As virsh prints one.

    >>> print(table(("Name", "State"), [("a", "running")]), end="")
     Name   State
    -----------------
     a      running
    """
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
    lines = [
        " " + "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [heads, *rows]
    ]
    rule = "-" * (sum(widths) + 3 * len(widths))
    return "\n".join([lines[0].rstrip(), rule, *(line.rstrip() for line in lines[1:])]) + "\n"


def show(arguments: argparse.Namespace, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table, or the same as JSON."""
    if arguments.json:
        keys = [head.lower().replace(" ", "_") for head in heads]
        found: list[dict[str, Any]] = [dict(zip(keys, row, strict=True)) for row in rows]
        print(json.dumps(found, indent=2))
    else:
        print(table(heads, rows))
