"""When each phase of a run was reached, and the console tap that notices two of them."""

import time
from collections.abc import Callable
from threading import Lock

from innkeeper.devices.uart import ConsoleSink

BUILT, STARTED, FIRST_OUTPUT, USERSPACE, ENDED = "built", "started", "first_output", "userspace", "ended"
LINE_LIMIT = 512
INIT_ANNOUNCEMENT = b"as init process"  # Linux: "Run /init as init process"


class Timeline:
    """Seconds since the run was asked for. A phase counts when it is first reached."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._start = now()
        self._lock = Lock()
        self._marks: dict[str, float] = {}

    def mark(self, phase: str) -> None:
        with self._lock:
            self._marks.setdefault(phase, self._now() - self._start)

    def seconds(self) -> dict[str, float]:
        with self._lock:
            return dict(self._marks)


class ConsoleTap:
    """Passes the guest's output on, and watches for the first byte and for Linux starting init."""

    def __init__(self, sink: ConsoleSink, timeline: Timeline) -> None:
        self._sink = sink
        self._timeline = timeline
        self._line = bytearray()
        self.write: Callable[[bytes], object] = self._write_first

    def _write_first(self, data: bytes, /) -> None:
        self._timeline.mark(FIRST_OUTPUT)
        self.write = self._write_watching
        self._write_watching(data)

    def _write_watching(self, data: bytes, /) -> None:
        self._sink.write(data)
        self._line += data
        if data == b"\n" or len(self._line) > LINE_LIMIT:
            if INIT_ANNOUNCEMENT in self._line:
                self._timeline.mark(USERSPACE)
                self.write = self._sink.write
            self._line.clear()
