"""`--quiet` of `inn virsh`: only what was asked for, with nothing below it."""

import io
from typing import TextIO


class Terse(io.TextIOBase):
    r"""A stream before another one, which keeps blank lines until something follows them.

    >>> import sys
    >>> terse = Terse(sys.stdout)
    >>> print("one\n\n\ntwo\n", file=terse)
    one
    <BLANKLINE>
    <BLANKLINE>
    two
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._held = ""
        self._fresh = True  # whether a line begins

    def write(self, text: str) -> int:
        told = self._held + text
        body = told.rstrip("\n")
        ends = told[len(body) :]
        now = ends[:1] if body or not self._fresh else ""
        self._stream.write(body + now)
        self._held = ends[len(now) :]
        if body:
            self._fresh = bool(now)
        elif now:
            self._fresh = True
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding
