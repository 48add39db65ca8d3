"""The console on this process's terminal, or on its standard input and output when those are files.

A terminal becomes raw, so that the guest gets every key, save `^]`, which leaves. Its modes come back
when the console is closed. A process in the background, or one whose input is no terminal, changes none.
"""

import os
import termios
import threading
import tty
from contextlib import suppress

from innkeeper.console.base import Leave, Receive
from innkeeper.console.input import Input, write_all
from innkeeper.console.output import Output

ESCAPE = b"\x1d"  # ^]


class StdioConsole:
    """Reads descriptor 0 and writes descriptor 1, unless told otherwise."""

    def __init__(self, input_descriptor: int = 0, output_descriptor: int = 1) -> None:
        self._input_descriptor = input_descriptor
        self._output_descriptor = output_descriptor
        self._saved_modes: list[int | list[bytes | int]] | None = None
        self._input: Input | None = None
        self._output: Output | None = None
        self._leave: Leave | None = None
        self._left = threading.Event()
        self._closing = threading.Lock()

    def start(self, receive: Receive, leave: Leave) -> None:
        self._receive = receive
        self._leave = leave
        self._output = Output(lambda data: write_all(self._output_descriptor, data), self._ask_to_leave)
        if is_ours(self._input_descriptor):
            self._saved_modes = termios.tcgetattr(self._input_descriptor)
            tty.setraw(self._input_descriptor)
        elif os.isatty(self._input_descriptor):
            return  # a process in the background must not take the keys of the one in front
        self._input = Input(self._input_descriptor, self._typed)

    def write(self, data: bytes, /) -> None:
        if self._output is not None:
            self._output.write(data)

    def close(self) -> None:
        with self._closing:
            if self._input is not None:
                self._input.close()
                self._input = None
            if self._output is not None:
                self._output.close()
                self._output = None
            if self._saved_modes is not None:
                with suppress(termios.error):  # the terminal hung up, and its modes are gone with it
                    # TCSADRAIN would wait for a terminal that does not take the rest.
                    termios.tcsetattr(self._input_descriptor, termios.TCSANOW, self._saved_modes)
                self._saved_modes = None

    def _typed(self, data: bytes) -> None:
        if self._saved_modes is None:  # piped input is the guest's, whatever bytes it holds
            self._receive(data)
            return
        before, escape, _ = data.partition(ESCAPE)
        if before:
            self._receive(before)
        if escape:
            self._ask_to_leave()

    def _ask_to_leave(self) -> None:
        if self._leave is not None and not self._left.is_set():
            self._left.set()
            self._leave()


def is_ours(descriptor: int) -> bool:
    """Whether this is a terminal and we are in its foreground, so that its modes are ours to change."""
    try:
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:  # a terminal, but not the one that controls this process
        return True
