"""Scan codes: from Linux's key codes to sets 1 and 2, and from set 2 to set 1 as a controller translates.

Spec: IBM PS/2 Hardware Interface Technical Reference, "Keyboard (101- and 102-Key)"; Microsoft's Keyboard Scan Code
Specification for the multimedia keys. Left out: set 3.
"""

from innkeeper.bus import Fields, State
from innkeeper.bus.state import BYTE

SET_1, SET_2 = 1, 2
STATE = Fields(released=BYTE)

# What the controller makes of the bytes 00h-7Fh of set 2.
TRANSLATED = bytes.fromhex(
    "ff 43 41 3f 3d 3b 3c 58 64 44 42 40 3e 0f 29 59 65 38 2a 70 1d 10 02 5a 66 71 2c 1f 1e 11 03 5b"
    "67 2e 2d 20 12 05 04 5c 68 39 2f 21 14 13 06 5d 69 31 30 23 22 15 07 5e 6a 72 32 24 16 08 09 5f"
    "6b 33 25 17 18 0b 0a 60 6c 34 35 26 27 19 0c 61 6d 73 28 74 1a 0d 62 6e 3a 36 1c 1b 75 2b 63 76"
    "55 56 77 78 79 7a 0e 7b 7c 4f 7d 4b 47 7e 7f 6f 52 53 50 4c 4d 48 01 45 57 4e 51 4a 37 49 46 54"
)
TRANSLATED_HIGH = {0x83: 0x41, 0x84: 0x54}
BREAK, EXTENDED, PAUSE_PREFIX = 0xF0, 0xE0, 0xE1
RELEASED = 0x80  # in set 1

_TO_SET_2 = {code: index for index, code in enumerate(TRANSLATED)} | {0x41: 0x83, 0x54: 0x84}

LAST_PLAIN = 88
"""Up to here Linux's codes are those of set 1."""
KEY_SYSRQ, KEY_PAUSE, KEY_LEFTALT, KEY_RIGHTALT = 99, 119, 56, 100
_OTHERS = {85: 0x76, 89: 0x73, 92: 0x79, 93: 0x70, 94: 0x7B, 117: 0x59, 121: 0x7E, 124: 0x7D}
_EXTENDED = {
    96: 0x1C, 97: 0x1D, 98: 0x35, 100: 0x38, 102: 0x47, 103: 0x48, 104: 0x49, 105: 0x4B, 106: 0x4D, 107: 0x4F,
    108: 0x50, 109: 0x51, 110: 0x52, 111: 0x53, 113: 0x20, 114: 0x2E, 115: 0x30, 116: 0x5E, 125: 0x5B, 126: 0x5C,
    127: 0x5D, 140: 0x21, 142: 0x5F, 143: 0x63, 155: 0x6C, 156: 0x66, 157: 0x6B, 158: 0x6A, 159: 0x69, 163: 0x19,
    164: 0x22, 165: 0x10, 166: 0x24, 172: 0x32, 173: 0x67, 217: 0x65,
}  # fmt: skip


def scan_codes(key: int, scan_set: int, *, down: bool, alt: bool = False) -> bytes:
    """What a keyboard sends for a key; empty for keys that it does not have.

    >>> scan_codes(28, SET_2, down=False).hex(), scan_codes(103, SET_1, down=True).hex()
    ('f05a', 'e048')
    """
    if key == KEY_PAUSE:
        both = _plain(0x1D, scan_set, down=True), _plain(0x45, scan_set, down=True)
        gone = _plain(0x1D, scan_set, down=False), _plain(0x45, scan_set, down=False)
        return b"".join((b"\xe1", *both, b"\xe1", *gone)) if down else b""
    if key == KEY_SYSRQ:
        if alt:
            return _plain(0x54, scan_set, down=down)
        parts = (_extended(0x2A, scan_set, down=down), _extended(0x37, scan_set, down=down))
        return b"".join(parts if down else reversed(parts))
    if (code := _EXTENDED.get(key)) is not None:
        return _extended(code, scan_set, down=down)
    if (0 < key < KEY_SYSRQ and (key <= LAST_PLAIN or key in _OTHERS)) or key in _OTHERS:
        return _plain(_OTHERS.get(key, key), scan_set, down=down)
    return b""


def _plain(code: int, scan_set: int, *, down: bool) -> bytes:
    """`code` is that of set 1."""
    if scan_set == SET_1:
        return bytes((code if down else code | RELEASED,))
    return bytes((_TO_SET_2[code],) if down else (BREAK, _TO_SET_2[code]))


def _extended(code: int, scan_set: int, *, down: bool) -> bytes:
    return bytes((EXTENDED,)) + _plain(code, scan_set, down=down)


class Translator:
    """A controller's translation of set 2 to set 1, byte by byte."""

    def __init__(self) -> None:
        self._released = 0

    def state(self) -> State:
        return STATE.of(self)

    def restore(self, state: State, /) -> None:
        STATE.put(self, state)

    def translate(self, value: int) -> int | None:
        """None if there is nothing to hand on yet."""
        if value == BREAK:
            self._released = RELEASED
            return None
        released, self._released = self._released, 0
        code = TRANSLATED[value] if value < len(TRANSLATED) else TRANSLATED_HIGH.get(value, value)
        return code | released
