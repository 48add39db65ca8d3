"""Output that is collected for a moment and written by a thread of its own.

A guest sends byte by byte, so one system call each would be dear; and a reader that does not read must
slow the guest down, but never keep the run from being ended.
"""

import logging
import threading
from collections.abc import Callable

BACKLOG_LIMIT = 1 << 16
COLLECT_S = 0.002
FAREWELL_S = 2.0  # how long a slow reader may take for the rest at the end

logger = logging.getLogger(__name__)


class Output:
    """A buffer with a thread that hands it to `drain`, which may block and may raise `OSError`."""

    def __init__(self, drain: Callable[[bytes], None], lost: Callable[[], None] | None = None) -> None:
        self._drain = drain
        self._lost = lost
        self._pending = bytearray()
        self._changed = threading.Condition()
        self._closing = False
        self._broken = False
        self._collected = threading.Event()  # set to cut a collecting pause short
        self._thread = threading.Thread(target=self._run, name="console-output", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        with self._changed:
            while len(self._pending) > BACKLOG_LIMIT and not self._deaf():
                self._changed.wait()
            if self._deaf():
                return
            if not self._pending:
                self._changed.notify_all()
            self._pending += data

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._collected.set()
        self._thread.join(FAREWELL_S)

    def join(self) -> None:
        """Waits for a drain that `close` gave up on and that has since been cut short."""
        self._thread.join()

    def _deaf(self) -> bool:
        return self._closing or self._broken

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._pending and not self._closing:
                    self._changed.wait()
                if not self._pending:
                    return
            self._collected.wait(COLLECT_S)
            with self._changed:
                data = bytes(self._pending)
                self._pending.clear()
                self._changed.notify_all()
            try:
                self._drain(data)
            except OSError as error:
                self._give_up(error)
                return

    def _give_up(self, error: OSError) -> None:
        with self._changed:
            self._broken = True
            self._pending.clear()
            self._changed.notify_all()
        if self._lost is not None:
            self._lost()
        else:
            logger.warning("console output is lost from here on: %s", error.strerror)
