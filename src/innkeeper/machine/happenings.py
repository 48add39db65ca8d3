"""What happens to a machine, for those who want to hear of it: the manager, through the control socket."""

import os
import threading
from collections import deque
from contextlib import suppress
from typing import Self

BACKLOG = 1000  # what somebody who does not listen may miss is the oldest
RUNNING = "running"


class Subscription:
    """What has happened since it was made. Its descriptor is readable while there is something to take."""

    def __init__(self, source: "Happenings", state: str) -> None:
        self._source = source
        self.state = state  # when it was made
        self._events: deque[dict[str, str]] = deque(maxlen=BACKLOG)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        return self._wake

    def add(self, event: dict[str, str]) -> None:
        self._events.append(event)
        os.eventfd_write(self._wake, 1)

    def take(self) -> list[dict[str, str]]:
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        return [self._events.popleft() for _ in range(len(self._events))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.forget(self)
        os.close(self._wake)


class Happenings:
    """From any thread."""

    def __init__(self) -> None:
        self.state = RUNNING
        self._lock = threading.Lock()
        self._subscriptions: list[Subscription] = []

    def subscribe(self) -> Subscription:
        with self._lock:
            subscription = Subscription(self, self.state)
            self._subscriptions.append(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscriptions.remove(subscription)

    def publish(self, what: str, detail: str = "", *, state: str = RUNNING) -> None:
        """`what` has happened, and the machine is in this state since."""
        with self._lock:
            self.state = state
            for subscription in self._subscriptions:
                subscription.add({"what": what, "detail": detail, "state": state})
