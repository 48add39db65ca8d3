"""A terminal whose keys all go to the guest, for as long as it lasts."""

import os
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def raw_terminal(descriptor: int) -> Iterator[None]:
    """Its modes come back at the end, however that comes. Nothing happens to what is no terminal."""
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
