"""What the verbs of storage have in common: virsh's way with arguments, results for people or for programs, progress."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from innkeeper.cli import documents
from innkeeper.cli.machines.common import facts_text, manager, table
from innkeeper.cli.parser import operand
from innkeeper.cli.progress import ProgressBar
from innkeeper.cli.results import as_json, put, say, show, show_json
from innkeeper.cli.words import tell_unknown

if TYPE_CHECKING:
    from innkeeper.manager.storage import Pools, Volumes
    from innkeeper.manager.storage.work import Work

__all__ = ["put", "say", "show", "tell_unknown"]
Result = TypeVar("Result")
Help = dict[str, str]
POOL = {"pool": "the storage pool's name or UUID"}
VOLUME = {"vol": "the volume's name, key or path"}


def pools(arguments: argparse.Namespace) -> Pools:
    return manager(arguments).pools


def volumes(arguments: argparse.Namespace) -> Volumes:
    return manager(arguments).volumes


def words(parser: argparse.ArgumentParser, required: Help, optional: Help | None = None) -> None:
    """Operands, and `--json`."""
    for wanted, needed in ((required, True), (optional or {}, False)):
        for name, text in wanted.items():
            operand(parser, name, text, required=needed)
    as_json(parser)


def in_pool(parser: argparse.ArgumentParser) -> None:
    """The pool that a volume is in, where it is not named by its path."""
    parser.add_argument("--pool", metavar="POOL", help="the name or UUID of the storage pool that it is in")


def facts(arguments: argparse.Namespace, rows: Sequence[tuple[str, str]], value: object) -> None:
    put(arguments, facts_text(dict(rows)).rstrip("\n"), value)


def rows(arguments: argparse.Namespace, heads: Sequence[str], cells: Sequence[Sequence[str]], value: object) -> None:
    """A table, or what it was made of as JSON."""
    if arguments.json:
        show_json(value)
    else:
        print(table(heads, cells))


def act(arguments: argparse.Namespace, do: Callable[[Pools], str], done: str) -> None:
    """Something that is done to a pool, which is then named in a sentence: `Pool {} started`."""
    name = do(pools(arguments))
    say(arguments, done.format(name), {"name": name})


def follow(what: str, work: Work[Result], *, verbose: bool = False) -> Result:
    """Does long work, and draws how far it is; if it is `verbose`, where that is no terminal too."""
    with ProgressBar(what, always=verbose) as bar:
        try:
            while True:
                step = next(work)
                bar("", step["done"] / step["total"] if step["total"] else 1.0)
        except StopIteration as end:
            result: Result = end.value
            return result
        finally:
            work.close()


def read(file: str) -> str:
    """Raises `ConfigError`."""
    return documents.read(file, stdin=True)


def absolute(vol: str, pool: str | None = None) -> str:
    """The manager works elsewhere. What has no slash, or is looked for in a pool, is a name."""
    return str(Path(vol).absolute()) if "/" in vol and pool is None else vol
