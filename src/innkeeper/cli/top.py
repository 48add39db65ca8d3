"""`inn top`: what machines use, on the terminal each second, or once for files and programs."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.errors import ConfigError
from innkeeper.manager.client import connect
from innkeeper.top.rates import Look, Rates, between, collect
from innkeeper.top.table import BY_WORD, DEFAULT_SORT, arranged, as_text

if TYPE_CHECKING:
    from innkeeper.manager.service import Manager

DELAY_LIMITS = (0.1, 3600.0)


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-b", "--batch", action="store_true", help="print tables instead of taking the terminal")
    parser.add_argument("--once", action="store_true", help="print one table: --batch --iterations 1")
    parser.add_argument("-n", "--iterations", type=int, metavar="N", help="with --batch: so many (default: for ever)")
    parser.add_argument(
        "-d", "--delay", type=float, default=1.0, metavar="SECONDS", help="between two looks (default: 1)"
    )
    parser.add_argument(
        "-o", "--sort", choices=BY_WORD, default=DEFAULT_SORT, help="what to sort by (default: %(default)s)"
    )
    parser.add_argument("--filter", default="", metavar="WORDS", help="only machines whose name has these in it")
    parser.add_argument("--json", action="store_true", help="print JSON, one array a look")


def execute(arguments: argparse.Namespace) -> int:
    low, high = DELAY_LIMITS
    if not low <= arguments.delay <= high:
        raise ConfigError(f"delay is {arguments.delay:g} s; it must be between {low:g} and {high:g}")
    if arguments.iterations is not None and arguments.iterations < 1:
        raise ConfigError(f"iterations is {arguments.iterations}; it must be at least 1")
    if arguments.batch or arguments.once or arguments.json or not sys.stdout.isatty():
        return print_tables(arguments)
    return take_terminal(arguments)


def print_tables(arguments: argparse.Namespace) -> int:
    manager = common.manager(arguments)
    forever = arguments.batch and not arguments.once
    left = arguments.iterations if arguments.iterations is not None else None if forever else 1
    before = collect(manager)
    while left is None or left > 0:
        time.sleep(arguments.delay)
        now = collect(manager)
        show(arguments, between(before, now))
        before, left = now, None if left is None else left - 1
    return Status.DONE


def show(arguments: argparse.Namespace, found: list[Rates]) -> None:
    wanted = arranged(found, BY_WORD[arguments.sort], words=arguments.filter)
    print(json.dumps([one.as_json() for one in wanted]) if arguments.json else as_text(wanted), flush=True)


def take_terminal(arguments: argparse.Namespace) -> int:
    try:
        from innkeeper.top.app import Top
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("textual", "rich"):
            raise
        raise ConfigError(
            "inn top needs textual for the terminal: pip install 'innkeeper[tui]'; inn top --batch does without"
        ) from error

    def at_manager(act: Callable[[Manager, str], object]) -> Callable[[str], None]:
        """A conversation of its own: several may go on at once."""

        def work(name: str) -> None:
            with connect(system=arguments.system) as manager:
                act(manager, name)

        return work

    top = Top(
        Looker(common.manager(arguments)),
        {
            "start": at_manager(lambda manager, name: manager.domains.start(name)),
            "shutdown": at_manager(lambda manager, name: manager.domains.shutdown(name)),
            "destroy": at_manager(lambda manager, name: manager.domains.destroy(name)),
        },
        {verb: partial(take_over, verb, system=arguments.system) for verb in ("console", "view")},
        delay_s=arguments.delay,
        sort=arguments.sort,
        words=arguments.filter,
    )
    top.run()
    return Status.DONE


def take_over(verb: str, name: str, *, system: bool) -> None:
    """Another `inn` has the terminal as long as it lasts, and its ^C too. What it complains about can be read before we come back."""
    command = [sys.executable, "-m", "innkeeper.cli", *(["--system"] if system else []), verb, name]
    before = signal.signal(signal.SIGINT, lambda *_: None)  # not ignored, which the other one would inherit
    try:
        if subprocess.run(command, check=False).returncode == Status.MISTAKE:
            say("press Enter to go back", file=sys.stderr)
            sys.stdin.readline()
    finally:
        signal.signal(signal.SIGINT, before)


class Looker:
    """The manager as a source."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    def collect(self) -> list[Look]:
        return collect(self._manager)
