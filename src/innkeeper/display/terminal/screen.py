"""The terminal while it shows a guest's screen: raw, on its alternate screen, with every key the guest's save `^]`.

One thread reads keys and draws. It looks at the guest's screen 25 times a second, at a picture less often, and never
while the terminal has not taken what was drawn before. However it ends, the terminal is as it was.
"""

from __future__ import annotations

import logging
import os
import select
import termios
import threading
import time
import tty
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from innkeeper.display.input import InputSink
from innkeeper.display.terminal.drawing import SHOW_CURSOR, Canvas, Sheet, sheet_of_picture, sheet_of_text
from innkeeper.display.terminal.keys import KeyReader
from innkeeper.errors import HostError

if TYPE_CHECKING:
    from innkeeper._core import Frame, Screen

LOOK_S, PICTURE_S = 0.04, 0.15
ESCAPE_S = 0.05  # what follows an Escape within that time belongs to it
CHUNK = 256  # of output: a terminal that can be written to takes as much
FAREWELL_S = 2.0
READ_BYTES = 4096
ENTER, LEAVE = "\x1b[?1049h\x1b[0m\x1b[2J", f"\x1b[0m{SHOW_CURSOR}\x1b[?1049l"
UNKNOWN = (80, 25)  # the size of a terminal that does not know it

logger = logging.getLogger(__name__)


class TerminalScreen:
    """`leave` is called once: when the user asks to, or when the terminal is gone."""

    def __init__(
        self,
        screen: Screen,
        sink: InputSink,
        leave: Callable[[], None],
        *,
        input_descriptor: int = 0,
        output_descriptor: int = 1,
    ) -> None:
        """Raises `HostError` if there is no terminal."""
        if not os.isatty(input_descriptor) or not os.isatty(output_descriptor):
            raise HostError("graphics terminal needs a terminal as input and output; take --graphics vnc elsewhere")
        self._screen, self._sink, self._leave = screen, sink, leave
        self._in, self._out = input_descriptor, output_descriptor
        self._keys = KeyReader()
        self._canvas = Canvas()
        self._frame: Frame | None = None
        self._sheet: Sheet | None = None
        self._size = (0, 0)
        self._pending = b""
        self._next_look = 0.0
        self._modes: list[int | list[bytes | int]] | None = None
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="terminal-screen", daemon=True)
        self._closed = False

    def start(self) -> None:
        self._modes = termios.tcgetattr(self._in)
        tty.setraw(self._in)
        self._pending = ENTER.encode()
        self._thread.start()

    def close(self) -> None:
        """Puts the terminal back as it was. Idempotent."""
        if self._closed:
            return
        self._closed = True
        os.write(self._wake_write, b"x")
        if self._modes is not None:
            self._thread.join(FAREWELL_S)
            with suppress(OSError, termios.error):  # the terminal hung up
                termios.tcflow(self._out, termios.TCOON)
                _write_some(self._out, LEAVE.encode())
                termios.tcsetattr(self._in, termios.TCSANOW, self._modes)
        if not self._thread.is_alive():
            os.close(self._wake_read)
            os.close(self._wake_write)

    # ---- its thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except OSError as error:
            logger.debug("the terminal is gone: %s", error)
            self._leave()

    def _turn(self) -> bool:
        """One wait, and what came of it; False at the end."""
        timeout, writers = max(self._next_look - time.monotonic(), 0.0), []
        if self._keys.waits:
            timeout = ESCAPE_S
        elif self._pending:
            timeout, writers = LOOK_S, [self._out]
        readable, writable, _ = select.select([self._in, self._wake_read], writers, [], timeout)
        if self._wake_read in readable:
            return False
        if self._in in readable:
            if not self._read():
                self._leave()
                return False
        elif self._keys.waits:
            self._strike(self._keys.flush())
        if writable:
            self._pending = self._pending[os.write(self._out, self._pending[:CHUNK]) :]
        if not self._pending and time.monotonic() >= self._next_look:
            self._look()
        return True

    def _read(self) -> bool:
        """Tells whether to go on."""
        data = os.read(self._in, READ_BYTES)
        strokes, leaves = self._keys.feed(data)
        self._strike(strokes)
        return bool(data) and not leaves

    def _strike(self, strokes: list[tuple[int, bool]]) -> None:
        for code, down in strokes:
            self._sink.key(code, down)

    def _look(self) -> None:
        columns, rows = os.get_terminal_size(self._out)
        size = (columns or UNKNOWN[0], rows or UNKNOWN[1])
        resized, self._size = size != self._size, size
        text = self._screen.text()
        if text is not None:
            self._frame = None
            self._sheet = sheet_of_text(text, size)
        else:
            self._look_at_picture(size, resized=resized)
        self._next_look = time.monotonic() + (LOOK_S if text is not None else PICTURE_S)
        if self._sheet is not None:
            self._pending = self._canvas.draw(self._sheet).encode()

    def _look_at_picture(self, size: tuple[int, int], *, resized: bool) -> None:
        from innkeeper._core import Frame

        frame = self._frame or Frame()
        if frame.refresh(self._screen) or resized or self._frame is None:
            self._sheet = sheet_of_picture(frame.width, frame.height, frame.pixels(), size)
        self._frame = frame


def _write_some(descriptor: int, data: bytes) -> None:
    """Without ever waiting for a terminal that takes nothing."""
    if select.select([], [descriptor], [], FAREWELL_S)[1]:
        os.write(descriptor, data)
