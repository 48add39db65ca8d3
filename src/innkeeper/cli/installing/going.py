"""The command's side of an installation, which the manager does: how far it is, and giving up."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from innkeeper.cli.progress import ProgressBar
from innkeeper.cli.words import say
from innkeeper.errors import HostError
from innkeeper.manager.client import ManagerUnavailable, connect

if TYPE_CHECKING:
    from types import TracebackType

    from innkeeper.manager.installation.making import Step
    from innkeeper.manager.service import Manager


class WatchUnavailable(HostError):  # noqa: N818 - what has happened
    """The manager is gone and cannot be reached again; the machine runs on without it."""


class Installation:
    """A conversation of its own with the manager, which watches the installation for as long as this lasts."""

    def __init__(self, arguments: argparse.Namespace, name: str, order: dict[str, Any]) -> None:
        """Begins nothing yet. Raises `HostError` if the manager cannot be reached."""
        self._system, self._name = bool(arguments.system), name
        self._manager: Manager = connect(system=self._system)
        self._steps: Iterator[Step] | None = self._manager.installations.install(order)
        self._token: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._manager.close()

    def make(self) -> None:
        """Returns when the machine runs. Nothing of it stays if that cannot be, or is interrupted. Raises `InnkeeperError`."""
        steps = self._steps
        assert steps is not None  # noqa: S101 - it has just been asked for
        try:
            self._token = next(steps)["begun"]
            show(steps)
            self.goes_on()  # by when the manager has noted that it runs
        except BaseException:
            self.give_up()
            raise

    def goes_on(self) -> bool:
        """Whether the installer is still at it, after a moment. Raises `HostError` if its machine has ended before it had."""
        try:
            if self._steps is None:
                self._steps = self._followed()
            return next(self._steps, None) is not None
        except ManagerUnavailable:  # a manager is not what is waited for
            self._manager.close()
            self._steps = None
            return True

    def _followed(self) -> Iterator[Step]:
        try:
            self._manager = connect(system=self._system)
        except HostError as error:
            raise WatchUnavailable(f"{error}; the installation of {self._name} goes on by itself") from error
        return self._manager.installations.follow(self._name, str(self._token))

    def give_up(self) -> None:
        """Nothing of it stays. One that had not begun, or has ended, is left alone."""
        self._manager.close()  # which the manager takes for giving up, if the machine did not run yet
        if self._token is None:
            return
        try:
            with connect(system=self._system) as manager:
                removed = manager.installations.give_up(self._name, self._token)
        except HostError as error:  # the manager may have been killed
            say(f"what the installation had made is removed by the next command: {error}", file=sys.stderr)
            return
        if removed is not None:
            tell_removed(removed, always=True)


def show(steps: Iterator[Step]) -> None:
    """How far the disks are, until the machine runs."""
    path, bar = None, ProgressBar("")
    try:
        for step in steps:
            if "process" in step:
                for part in step["unknown"]:
                    say(f"note: {part}", file=sys.stderr)
                return
            if step["path"] != path:
                bar.__exit__()
                path, bar = step["path"], ProgressBar(f"Allocating '{step['path']}'")
            bar("", step["done"] / step["total"] if step["total"] else 1.0)
    finally:
        bar.__exit__()


def tell_removed(files: list[str], *, always: bool = False) -> None:
    if files or always:
        also = f", and {', '.join(files)}" if files else ""
        say(f"what the installation had made is removed{also}; the same command can be run again", file=sys.stderr)


def tell(arguments: argparse.Namespace, words: str) -> None:
    if not arguments.quiet:
        say(words, file=sys.stderr)
