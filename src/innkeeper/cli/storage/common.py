"""What the verbs of storage have in common: virsh's way with arguments, results for people or for programs, progress."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from innkeeper.cli import documents
from innkeeper.cli.machines.common import as_json, facts_text, manager, table
from innkeeper.cli.progress import ProgressBar
from innkeeper.errors import ConfigError
from innkeeper.language import translate

if TYPE_CHECKING:
    from innkeeper.manager.storage import Pools, Volumes
    from innkeeper.manager.storage.work import Work

Result = TypeVar("Result")
Help = dict[str, str]
POOL = {"pool": "the storage pool's name or UUID"}
VOLUME = {"vol": "the volume's name, key or path"}


def pools(arguments: argparse.Namespace) -> Pools:
    return manager(arguments).pools


def volumes(arguments: argparse.Namespace) -> Volumes:
    return manager(arguments).volumes


def words(
    parser: argparse.ArgumentParser, required: Help, optional: Help | None = None, *, rest: str | None = None
) -> None:
    """Arguments that may be given by their places or by name, `NAME` or `--pool NAME`, between options too, as virsh takes them.

    `rest` is what further words are.
    """
    wanted = required | (optional or {})
    for name, text in wanted.items():
        parser.add_argument(f"--{name}", metavar=name.upper(), help=text)
    parser.add_argument(
        "words", nargs="*", metavar=" ".join(name.upper() for name in wanted), help="the same, in this order"
    )
    parser.set_defaults(required_words=tuple(required), all_words=tuple(wanted), rest=rest)
    mixed(parser)
    as_json(parser)


def mixed(parser: argparse.ArgumentParser) -> None:
    """Lets options stand between words."""
    plain = parser.parse_known_args

    def parse(*values: Any) -> Any:
        parser.parse_known_args = plain  # type: ignore[method-assign]
        try:
            return parser.parse_known_intermixed_args(*values)
        finally:
            parser.parse_known_args = parse  # type: ignore[method-assign, assignment]

    parser.parse_known_args = parse  # type: ignore[method-assign, assignment]


def fill(arguments: argparse.Namespace) -> None:
    """Gives the words their names. Raises `ConfigError` for one too many or too few."""
    given = list(arguments.words)
    for name in arguments.all_words:
        if getattr(arguments, name) is None and given:
            setattr(arguments, name, given.pop(0))
    if arguments.rest is not None:
        arguments.rest = given
    elif given:
        raise ConfigError(f"there is a word too many, {given[0][:60]!r}")
    for name in arguments.required_words:
        if getattr(arguments, name) is None:
            raise ConfigError(f"no {name} is given; say which, as in --{name} {name.upper()}")


def in_pool(parser: argparse.ArgumentParser) -> None:
    """The pool that a volume is in, where it is not named by its path."""
    parser.add_argument("--pool", metavar="POOL", help="the name or UUID of the storage pool that it is in")


def say(arguments: argparse.Namespace, sentence: str, value: object) -> None:
    """What was done, or the same as JSON."""
    put(arguments, translate(sentence), value)


def put(arguments: argparse.Namespace, text: str, value: object) -> None:
    """Data, as it is."""
    print(json.dumps(value, indent=2) if arguments.json else f"{text}\n")


def show(arguments: argparse.Namespace, value: str, key: str) -> None:
    """One value, alone on its line."""
    put(arguments, value, {key: value})


def facts(arguments: argparse.Namespace, rows: Sequence[tuple[str, str]], value: object) -> None:
    put(arguments, facts_text(dict(rows)).rstrip("\n"), value)


def rows(arguments: argparse.Namespace, heads: Sequence[str], cells: Sequence[Sequence[str]], value: object) -> None:
    """A table, or what it was made of as JSON."""
    print(json.dumps(value, indent=2) if arguments.json else table(heads, cells))


def act(arguments: argparse.Namespace, do: Callable[[Pools], str], done: str) -> None:
    """Something that is done to a pool, which is then named in a sentence: `Pool {} started`."""
    fill(arguments)
    name = do(pools(arguments))
    say(arguments, done.format(name), {"name": name})


def follow(what: str, work: Work[Result]) -> Result:
    """Does long work, and draws how far it is."""
    with ProgressBar(what) as bar:
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


def tell_unknown(unknown: Sequence[str], *, kept: bool) -> None:
    if unknown:
        what = "kept, and without meaning here" if kept else "without meaning here, and left out"
        print(f"{what}: {', '.join(unknown)}", file=sys.stderr)


def absolute(vol: str, pool: str | None = None) -> str:
    """The manager works elsewhere. What has no slash, or is looked for in a pool, is a name."""
    return str(Path(vol).absolute()) if "/" in vol and pool is None else vol
