"""A console for programs: reads what the guest said, waits for words, types answers."""

import threading
import time

from innkeeper.console.base import Leave, Receive


class MemoryConsole:
    """Keeps all that the guest sends. Methods may be called from any thread.

    >>> console = MemoryConsole()
    >>> console.write(b"login: ")
    >>> console.wait_for(b"login:", timeout_s=1)
    b'login:'
    >>> console.text
    'login: '
    """

    def __init__(self) -> None:
        self._output = bytearray()
        self._matched = 0  # what `wait_for` has already passed
        self._closed = False
        self._changed = threading.Condition()
        self._receive: Receive | None = None
        self._typed_early = bytearray()

    def start(self, receive: Receive, leave: Leave) -> None:  # noqa: ARG002 - programs end runs by the machine's own methods
        with self._changed:
            self._receive = receive
            early = bytes(self._typed_early)
        if early:
            receive(early)

    def write(self, data: bytes, /) -> None:
        with self._changed:
            self._output += data
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def send(self, data: bytes) -> None:
        """Types. Before the machine starts it waits in the line."""
        with self._changed:
            receive = self._receive
            if receive is None:
                self._typed_early += data
        if receive is not None:
            receive(data)

    @property
    def output(self) -> bytes:
        """All that the guest has sent so far."""
        with self._changed:
            return bytes(self._output)

    @property
    def text(self) -> str:
        """The output as text, line ends made plain."""
        return self.output.decode("utf-8", "replace").replace("\r\n", "\n")

    def wait_for(self, words: bytes, *, timeout_s: float) -> bytes:
        """Waits until the guest says `words` after those waited for last; returns all up to their end.

        Raises `TimeoutError`, which quotes the last that was said, if it does not come in time or the
        machine ends before.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while (found := self._output.find(words, self._matched)) < 0:
                remaining = deadline - time.monotonic()
                if self._closed or remaining <= 0:
                    raise TimeoutError(f"no {words!r} within {timeout_s:g} s; last came {bytes(self._output[-200:])!r}")
                self._changed.wait(remaining)
            start, self._matched = self._matched, found + len(words)
            return bytes(self._output[start : self._matched])
