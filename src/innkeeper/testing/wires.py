"""An interrupt line that remembers, and a clock that is moved by hand."""

import heapq
from collections.abc import Callable
from itertools import count


class FakeIrqLine:
    """Remembers its level and how often it rose.

    >>> line = FakeIrqLine()
    >>> line.pulse()
    >>> line.is_high(), line.edges
    (False, 1)
    """

    def __init__(self) -> None:
        self._level = False
        self.edges = 0

    def is_high(self) -> bool:
        return self._level

    def set(self, level: bool, /) -> None:
        self.edges += level and not self._level
        self._level = level

    def pulse(self) -> None:
        self.set(True)
        self.set(False)


class FakeTimer:
    """A callback of a `FakeClock`."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """Stands still until `advance`, which also calls what has fallen due, in order.

    >>> clock, rung = FakeClock(), []
    >>> timer = clock.after(5, lambda: rung.append(clock.monotonic_ns()))
    >>> clock.advance(10)
    >>> rung, clock.monotonic_ns()
    ([5], 10)
    """

    def __init__(self, wall_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now = 0
        self._wall = wall_ns
        self._queue: list[tuple[int, int, FakeTimer]] = []
        self._order = count()

    def monotonic_ns(self) -> int:
        return self._now

    def wall_ns(self) -> int:
        return self._wall + self._now

    def after(self, delay_ns: int, callback: Callable[[], None], /) -> FakeTimer:
        timer = FakeTimer(callback)
        heapq.heappush(self._queue, (self._now + max(delay_ns, 0), next(self._order), timer))
        return timer

    def advance(self, ns: int) -> None:
        end = self._now + ns
        while self._queue and self._queue[0][0] <= end:
            due, _, timer = heapq.heappop(self._queue)
            self._now = due
            if timer.callback is not None:
                timer.callback()
        self._now = end

    @property
    def waiting(self) -> int:
        """How many callbacks are still to come."""
        return sum(timer.callback is not None for _, _, timer in self._queue)
