"""What a machine asks of the host side of a serial console."""

from collections.abc import Callable
from typing import Protocol

Receive = Callable[[bytes], None]
Leave = Callable[[], None]


class Console(Protocol):
    """Bytes from the guest go in by `write`, bytes from the user come out by the callback of `start`."""

    def start(self, receive: Receive, leave: Leave) -> None:
        """Begins to deliver input, from a thread of the console's own.

        `leave` is called at most once: when the user asks to end the run, or their end is gone for good.
        """
        ...

    def write(self, data: bytes, /) -> None:
        """Takes what the guest sent. Never raises; waits only while a reader that exists is slow."""
        ...

    def close(self) -> None:
        """Delivers what was written, stops the input and puts everything back as it was. Idempotent."""
        ...
