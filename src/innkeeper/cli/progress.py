"""A progress bar on stderr, where that is a terminal; elsewhere nothing is drawn, unless it is asked for."""

import sys
import time
from typing import Self, TextIO

WIDTH = 30
REDRAW_S = 0.1


class ProgressBar:
    """One line that is drawn over and over. Leaving the `with` block ends it."""

    def __init__(self, what: str, stream: TextIO | None = None, *, always: bool = False) -> None:
        self._what = what
        self._stream = stream or sys.stderr
        self._shown = always or self._stream.isatty()
        self._begun = time.monotonic()
        self._drawn = 0.0
        self._length = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown and self._length:
            self._draw("")
            self._stream.write("\r")
            self._stream.flush()

    def __call__(self, stage: str, done: float) -> None:
        """`done` is from 0 to 1; `stage` says what is being done."""
        now = time.monotonic()
        if not self._shown or (now - self._drawn < REDRAW_S and done < 1):
            return
        self._drawn = now
        filled = round(WIDTH * min(max(done, 0.0), 1.0))
        bar = "━" * filled + " " * (WIDTH - filled)
        text = f"{self._what} [{bar}] {done:4.0%} {now - self._begun:4.0f} s"
        self._draw(f"{text}  {stage}" if stage else text)

    def _draw(self, line: str) -> None:
        self._stream.write("\r" + line.ljust(self._length))
        self._stream.flush()
        self._length = len(line)
