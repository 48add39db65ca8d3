"""Long work as a generator: it yields how far it is, and ends with the result.

Who stops listening stops the work: closing the generator ends the tool behind it, which leaves nothing half-made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypedDict, TypeVar

if TYPE_CHECKING:
    from innkeeper.storage import Progress as Watcher

Result = TypeVar("Result")


class Progress(TypedDict):
    """In bytes."""

    done: int
    total: int


Work = Generator[Progress, None, Result]


class Stopped(Exception):  # noqa: N818 - what it is
    """Nobody wants the work to be done any more."""


def in_parts(work: Callable[[Watcher], Result]) -> Work[Result]:
    """Runs work that reports to a watcher, in a thread of its own."""
    reports: SimpleQueue[Progress | None] = SimpleQueue()
    stop = threading.Event()
    results: list[Result] = []
    errors: list[BaseException] = []

    def told(done: int, total: int) -> None:
        if stop.is_set():
            raise Stopped
        reports.put({"done": done, "total": total})

    def run() -> None:
        try:
            results.append(work(told))
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            errors.append(error)
        finally:
            reports.put(None)

    thread = threading.Thread(target=run, name="storage", daemon=True)
    thread.start()
    try:
        while (report := reports.get()) is not None:
            yield report
    finally:
        stop.set()
        thread.join()
    if errors:
        raise errors[0]
    return results[0]


def finish(work: Work[Result]) -> Result:
    """Does all of it."""
    try:
        while True:
            next(work)
    except StopIteration as end:
        result: Result = end.value
        return result
