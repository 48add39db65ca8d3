"""From what viewers say to keys: X's keysyms, and the scan codes of QEMU's extended key events.

Spec: X11's keysymdef.h; RFC 6143 7.5.4; the RFB community's "QEMU Extended Key Event", whose codes are those of
scan-code set 1 with bit 7 for an E0 prefix. Keysyms name letters, so a US keyboard is assumed; scan codes name places.
"""

from innkeeper.display.keys import CHARACTERS, KEYS

LATIN_1 = range(0x20, 0x100)
UNICODE = range(0x0100_0020, 0x0111_0000)  # 0x01000000 + code point

_FUNCTION = {0xFFBE + number: f"F{number + 1}" for number in range(12)}
_KEYPAD = {0xFFB0 + digit: f"KP{digit}" for digit in range(10)}
_OTHERS = {
    0xFF08: "BACKSPACE", 0xFF09: "TAB", 0xFE20: "TAB", 0xFF0A: "ENTER", 0xFF0D: "ENTER", 0xFF13: "PAUSE",
    0xFF14: "SCROLLLOCK", 0xFF15: "SYSRQ", 0xFF1B: "ESC", 0xFF20: "COMPOSE", 0xFF50: "HOME", 0xFF51: "LEFT",
    0xFF52: "UP", 0xFF53: "RIGHT", 0xFF54: "DOWN", 0xFF55: "PAGEUP", 0xFF56: "PAGEDOWN", 0xFF57: "END",
    0xFF61: "SYSRQ", 0xFF63: "INSERT", 0xFF67: "COMPOSE", 0xFF6A: "HELP", 0xFF6B: "PAUSE", 0xFF7E: "RIGHTALT",
    0xFF7F: "NUMLOCK", 0xFF8D: "KPENTER", 0xFF95: "KP7", 0xFF96: "KP4", 0xFF97: "KP8", 0xFF98: "KP6", 0xFF99: "KP2",
    0xFF9A: "KP9", 0xFF9B: "KP3", 0xFF9C: "KP1", 0xFF9D: "KP5", 0xFF9E: "KP0", 0xFF9F: "KPDOT", 0xFFAA: "KPASTERISK",
    0xFFAB: "KPPLUS", 0xFFAC: "KPCOMMA", 0xFFAD: "KPMINUS", 0xFFAE: "KPDOT", 0xFFAF: "KPSLASH", 0xFFBD: "KPEQUAL",
    0xFFE1: "LEFTSHIFT", 0xFFE2: "RIGHTSHIFT", 0xFFE3: "LEFTCTRL", 0xFFE4: "RIGHTCTRL", 0xFFE5: "CAPSLOCK",
    0xFFE7: "LEFTMETA", 0xFFE8: "RIGHTMETA", 0xFFE9: "LEFTALT", 0xFFEA: "RIGHTALT", 0xFFEB: "LEFTMETA",
    0xFFEC: "RIGHTMETA", 0xFE03: "RIGHTALT", 0xFFFF: "DELETE",
    0x1008FF11: "VOLUMEDOWN", 0x1008FF12: "MUTE", 0x1008FF13: "VOLUMEUP", 0x1008FF2A: "POWER", 0x1008FF2F: "SLEEP",
}  # fmt: skip
_PLACES = {keysym: KEYS[name] for keysym, name in {**_FUNCTION, **_KEYPAD, **_OTHERS}.items()}

# After an E0 prefix; without one, a key's code is its scan code.
_AFTER_E0 = {
    0x10: "PREVIOUSSONG", 0x19: "NEXTSONG", 0x1C: "KPENTER", 0x1D: "RIGHTCTRL", 0x20: "MUTE", 0x21: "CALC",
    0x22: "PLAYPAUSE", 0x24: "STOPCD", 0x2E: "VOLUMEDOWN", 0x30: "VOLUMEUP", 0x35: "KPSLASH", 0x37: "SYSRQ",
    0x38: "RIGHTALT", 0x45: "NUMLOCK", 0x46: "PAUSE", 0x47: "HOME", 0x48: "UP", 0x49: "PAGEUP", 0x4B: "LEFT",
    0x4D: "RIGHT", 0x4F: "END", 0x50: "DOWN", 0x51: "PAGEDOWN", 0x52: "INSERT", 0x53: "DELETE", 0x5B: "LEFTMETA",
    0x5C: "RIGHTMETA", 0x5D: "COMPOSE", 0x5E: "POWER", 0x5F: "SLEEP", 0x63: "WAKEUP",
}  # fmt: skip
# Those without a prefix whose code is not the scan code.
_ALONE = {
    0x54: "SYSRQ", 0x59: "KPEQUAL", 0x70: "KATAKANAHIRAGANA", 0x73: "RO", 0x79: "HENKAN", 0x7B: "MUHENKAN",
    0x7D: "YEN", 0x7E: "KPCOMMA",
}  # fmt: skip
_SCAN_CODES = {
    **{code: code for code in (*range(0x01, 0x54), 0x56, 0x57, 0x58)},
    **{scan_code: KEYS[name] for scan_code, name in _ALONE.items()},
    **{0x80 | scan_code: KEYS[name] for scan_code, name in _AFTER_E0.items()},
}


def key_of_scan_code(scan_code: int) -> int | None:
    """The key at a place of the viewer's keyboard.

    >>> key_of_scan_code(0x1E), key_of_scan_code(0xE04B - 0xE000 | 0x80), key_of_scan_code(0x3FF)
    (30, 105, None)
    """
    return _SCAN_CODES.get(scan_code)


def key_of_keysym(keysym: int) -> tuple[int, bool | None] | None:
    """The key, and whether a US keyboard needs Shift for it; None where it does not matter.

    >>> key_of_keysym(0x61), key_of_keysym(0x41), key_of_keysym(0xFF0D), key_of_keysym(0x010000E9)
    ((30, False), (30, True), (28, None), None)
    """
    if (place := _PLACES.get(keysym)) is not None:
        return place, None
    if keysym in LATIN_1 or keysym in UNICODE:
        return CHARACTERS.get(chr(keysym & 0xFF_FFFF))
    return None
