"""The last that a guest said on a console, for those who come later.

Terminals answer questions: where the cursor is, what they are. Those of the past were answered in the past, and an answer
now would be typed into the guest; so what is repeated has none in it (ECMA-48, xterm's control sequences). It
begins with a line, lest it begin in the middle of such a sequence.
"""

import re

LIMIT = 64 << 10
QUESTIONS = re.compile(
    rb"\x1b\[[<-?]?[0-9;]*\$?[cnptxu]"  # device attributes, status and cursor, modes, window, parameters
    rb"|\x1bZ|\x05"  # identify, answer back
    rb"|\x1b\][^\x07\x1b]*\?[^\x07\x1b]*(?:\x07|\x1b\\)"  # colours
    rb"|\x1bP[^\x1b]*\x1b\\"  # settings
)
SHORTEST_CUT = 4 << 10  # a line that is longer than all but this is cut anywhere


class Scrollback:
    r"""Not for several threads at once.

    >>> said = Scrollback()
    >>> said.add(b"login: \x1b[6n")
    >>> said.content()
    b'login: '
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._kept = bytearray()
        self._cut = False

    def add(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > 2 * self._limit:
            del self._kept[: -self._limit]
            self._cut = True

    def content(self) -> bytes:
        said = bytes(self._kept[-self._limit :])
        if self._cut or len(self._kept) > self._limit:
            line = said.find(b"\n") + 1
            said = said[line:] if line < len(said) - SHORTEST_CUT else said
        return QUESTIONS.sub(b"", said)
