"""Input from a file descriptor, read by a thread that can be told to stop."""

import os
import select
import threading
from collections.abc import Callable

CHUNK = 4096


class Wake:
    """Ends another thread's wait for input."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()

    def set(self) -> None:
        os.write(self._write_end, b"x")

    def fileno(self) -> int:
        """Has something to read once `set` was called."""
        return self._read_end

    def wait_for_input(self, descriptor: int) -> bool:
        """Waits until `descriptor` has something (or has ended); False once `set` was called."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(self._read_end, select.POLLIN)
        return self._read_end not in dict(poll.poll())

    def close(self) -> None:
        os.close(self._read_end)
        os.close(self._write_end)


class Input:
    """Hands what arrives at `descriptor` to `receive`; ends quietly at the end of the file."""

    def __init__(self, descriptor: int, receive: Callable[[bytes], None]) -> None:
        self._descriptor = descriptor
        self._receive = receive
        self._wake = Wake()
        self._thread = threading.Thread(target=self._run, name="console-input", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Not from within `receive`."""
        self._wake.set()
        self._thread.join()
        self._wake.close()

    def _run(self) -> None:
        while self._wake.wait_for_input(self._descriptor):
            try:
                data = os.read(self._descriptor, CHUNK)
            except OSError:  # the terminal hung up, or nothing is open there
                return
            if not data:
                return
            self._receive(data)


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
