"""Time for devices: a monotonic clock, the date, and callbacks in the future.

Devices never look at the host's clock or start a thread themselves, so tests can move time by hand
(`innkeeper.testing.FakeClock`).
"""

import heapq
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Protocol


class Timer(Protocol):
    """A callback that has not happened yet."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Nanoseconds since an arbitrary start, nanoseconds since 1970 (UTC), and callbacks."""

    def monotonic_ns(self) -> int: ...
    def wall_ns(self) -> int: ...
    def after(self, delay_ns: int, callback: Callable[[], None], /) -> Timer: ...


class _HostTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class HostClock:
    """The host's clock. Its thread starts with the first callback and ends with `close`."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: list[tuple[int, int, _HostTimer]] = []
        self._order = count()
        self._thread: threading.Thread | None = None
        self._calling = self._held = self._closed = False

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()

    def after(self, delay_ns: int, callback: Callable[[], None], /) -> Timer:
        timer = _HostTimer(callback)
        due = time.monotonic_ns() + max(delay_ns, 0)
        with self._changed:
            if self._closed:
                return timer
            heapq.heappush(self._queue, (due, next(self._order), timer))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="innkeeper-timers", daemon=True)
                self._thread.start()
            self._changed.notify()
        return timer

    def hold(self) -> None:
        """Returns once no callback runs; those that come due wait for `release`."""
        with self._changed:
            self._held = True
            self._changed.notify()
            self._changed.wait_for(lambda: not self._calling)

    def release(self) -> None:
        with self._changed:
            self._held = False
            self._changed.notify()

    def close(self) -> None:
        """Forgets every callback and ends the thread."""
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while (timer := self._next()) is not None:
            callback = timer.callback
            if callback is not None:
                callback()
            with self._changed:
                self._calling = False
                self._changed.notify_all()

    def _next(self) -> _HostTimer | None:
        """Waits for the earliest timer. None once closed."""
        with self._changed:
            while not self._closed:
                if not self._queue or self._held:
                    self._changed.wait()
                    continue
                remaining_ns = self._queue[0][0] - time.monotonic_ns()
                if remaining_ns <= 0:
                    self._calling = True
                    return heapq.heappop(self._queue)[2]
                self._changed.wait(remaining_ns / 1e9)
            return None
