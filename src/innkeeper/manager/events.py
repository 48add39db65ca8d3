"""What happens to machines, told to whoever watches."""

import contextlib
import queue
import threading
import time
from collections.abc import Generator
from typing import TypedDict

from innkeeper.manager.naming import find
from innkeeper.manager.served import served

WAITING_LIMIT = 1000  # events that a slow watcher may be behind; then it is let go
QUIET_S = 5.0  # between two looks at whether a watcher is still there


KEEPING = ("defined", "undefined", "failed")
"""What happens to a machine without changing what it does."""


class Event(TypedDict):
    """`kind` is what the event is about, as in `lifecycle`; `what` happened, and in `detail` why."""

    time: float
    domain: str
    kind: str
    what: str
    detail: str


class Events:
    """From any thread."""

    def __init__(self) -> None:
        self._watchers: set[queue.Queue[Event | None]] = set()
        self._latest: dict[str, Event] = {}
        self._lock = threading.Lock()

    def publish(self, domain: str, what: str, detail: str = "", *, kind: str = "lifecycle") -> None:
        event = Event(time=time.time(), domain=domain, kind=kind, what=what, detail=detail)
        with self._lock:
            if kind == "lifecycle" and what not in KEEPING:
                self._latest[domain] = event
            for watcher in list(self._watchers):
                try:
                    watcher.put_nowait(event)
                except queue.Full:
                    self._watchers.discard(watcher)
                    with contextlib.suppress(queue.Empty):
                        watcher.get_nowait()
                    watcher.put_nowait(None)

    @served
    def latest(self, domain: str) -> Event | None:
        """What brought a machine to its state, if this manager has seen it. Raises `ConfigError` if there is no such machine."""
        name, _ = find(domain)
        return self._latest.get(name)

    @served
    def watch(self) -> Generator[Event | None, None, None]:
        """From now on; `None` now and then, so that a watcher who has left is noticed. Ends for one who is too slow."""
        mine: queue.Queue[Event | None] = queue.Queue(WAITING_LIMIT)
        with self._lock:
            self._watchers.add(mine)
        try:
            yield None  # whoever reads this knows that nothing is missed any more
            while True:
                try:
                    event = mine.get(timeout=QUIET_S)
                except queue.Empty:
                    yield None
                    continue
                if event is None:
                    return
                yield event
        finally:
            with self._lock:
                self._watchers.discard(mine)
