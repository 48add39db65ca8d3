"""From what a terminal sends to keys: letters as on a US keyboard, and the escape sequences of keys that are none.

Spec: ECMA-48 and xterm's ctlseqs, with the Linux console's function keys. A terminal tells no releases: each key is
pressed and released at once, with the modifiers that its bytes speak of. Left out: mouse reports, bracketed paste.
"""

from codecs import getincrementaldecoder

from innkeeper.display.keys import CHARACTERS, KEYS, Stroke, press

LEAVE = "\x1d"  # ^]
ESCAPE = "\x1b"

# What ends "ESC [" or "ESC O", and the numbers before "~".
_BY_LETTER = {
    "A": "UP", "B": "DOWN", "C": "RIGHT", "D": "LEFT", "H": "HOME", "F": "END", "E": "KP5", "P": "F1", "Q": "F2",
    "R": "F3", "S": "F4", "M": "KPENTER", "Z": "TAB",
}  # fmt: skip
_BY_NUMBER = {
    1: "HOME", 2: "INSERT", 3: "DELETE", 4: "END", 5: "PAGEUP", 6: "PAGEDOWN", 7: "HOME", 8: "END", 11: "F1", 12: "F2",
    13: "F3", 14: "F4", 15: "F5", 17: "F6", 18: "F7", 19: "F8", 20: "F9", 21: "F10", 23: "F11", 24: "F12",
    25: "F1", 26: "F2", 28: "F3", 29: "F4", 31: "F5", 32: "F6", 33: "F7", 34: "F8",
}  # fmt: skip
_SHIFTED_FROM = 25  # rxvt's F13 and on are F1 and on with Shift
_LINUX = dict(zip("ABCDE", ("F1", "F2", "F3", "F4", "F5"), strict=True))  # "ESC [ [" and a letter
_CONTROLS = {"\r": "ENTER", "\n": "ENTER", "\t": "TAB", "\x7f": "BACKSPACE", "\b": "BACKSPACE", ESCAPE: "ESC"}
_CONTROL_CHARACTERS = {"\0": " ", "\x1c": "\\", "\x1e": "6", "\x1f": "-"}
SHIFT, ALT, CTRL = 1, 2, 4  # xterm's modifiers, less one
_MODIFIERS = ((CTRL, KEYS["LEFTCTRL"]), (ALT, KEYS["LEFTALT"]), (SHIFT, KEYS["LEFTSHIFT"]))
SEQUENCE_LIMIT = 32


class KeyReader:
    """Takes bytes as they come. What is only begun waits for `feed` or `flush`."""

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._pending = ""

    @property
    def waits(self) -> bool:
        """Whether an escape sequence, or the key Escape, is only begun."""
        return bool(self._pending)

    def feed(self, data: bytes) -> tuple[list[Stroke], bool]:
        r"""The keys, and whether `^]` asked to leave; nothing after that counts.

        >>> KeyReader().feed(b"a")[0], KeyReader().feed(b"x\x1dy")
        ([(30, True), (30, False)], ([(45, True), (45, False)], True))
        """
        self._pending += self._decoder.decode(data)
        strokes: list[Stroke] = []
        while self._pending:
            if self._pending[0] == LEAVE:
                return strokes, True
            taken = self._take()
            if taken is None:
                break
            strokes += taken
        return strokes, False

    def flush(self) -> list[Stroke]:
        """Nothing follows: what looked like the beginning of a sequence was typed so."""
        pending, self._pending = self._pending, ""
        if len(pending) == 2 and pending[1] in "[O":
            return _strike(pending[1], ALT)
        return [stroke for character in pending for stroke in _strike(character)]

    def _take(self) -> list[Stroke] | None:
        """The first key of what is pending; None if it is not all there."""
        text = self._pending
        if text[0] != ESCAPE:
            self._pending = text[1:]
            return _strike(text[0])
        if len(text) == 1:
            return None
        if text[1] in "[O":
            return self._take_sequence()
        self._pending = text[2:]
        return _strike(text[1], ALT)

    def _take_sequence(self) -> list[Stroke] | None:
        text = self._pending
        if text.startswith("\x1b[["):
            if len(text) < 4:
                return None
            self._pending = text[4:]
            return _name(_LINUX.get(text[3]), 0)
        end = 2
        while end < len(text) and text[end] in "0123456789;?<>":
            end += 1
        if end == len(text):
            if end < SEQUENCE_LIMIT:
                return None
            self._pending = ""  # that is no key
            return []
        self._pending = text[end + 1 :]
        return _sequence(text[2:end], text[end])


def _sequence(parameters: str, final: str) -> list[Stroke]:
    numbers = [int(part) if part.isdigit() else 0 for part in parameters.split(";")]
    modifiers = numbers[1] - 1 if len(numbers) > 1 and 1 <= numbers[1] <= 8 else 0
    if final == "~":
        shifted = SHIFT if numbers[0] >= _SHIFTED_FROM else 0
        return _name(_BY_NUMBER.get(numbers[0]), modifiers | shifted)
    if final == "Z":
        modifiers |= SHIFT
    return _name(_BY_LETTER.get(final), modifiers)


def _name(name: str | None, modifiers: int) -> list[Stroke]:
    return _with(modifiers, KEYS[name]) if name is not None else []


def _with(modifiers: int, key: int) -> list[Stroke]:
    return press([*(code for bit, code in _MODIFIERS if modifiers & bit), key])


def _strike(character: str, modifiers: int = 0) -> list[Stroke]:
    """One character; nothing for those that a US keyboard does not have."""
    if (name := _CONTROLS.get(character)) is not None:
        return _name(name, modifiers)
    if character < " ":
        modifiers |= CTRL
        character = _CONTROL_CHARACTERS.get(character, chr(ord(character) + 0x60))
    place = CHARACTERS.get(character)
    if place is None:
        return []
    key, shifted = place
    return _with(modifiers | (SHIFT if shifted else 0), key)
