"""One viewer's keyboard: keysyms become keys with the Shift that a US keyboard needs, and nothing stays down.

A viewer that sends keysyms sends letters: `A` may come with Shift held, with Caps Lock on, or from a program that
just types. The guest must get keys that make the same letter there, so Shift is added or taken away around a key.
"""

from innkeeper.display.input import InputSink
from innkeeper.display.keys import CAPS_LOCK, NAMES, SHIFT, SHIFTS
from innkeeper.display.keysyms import key_of_keysym, key_of_scan_code

HELD_LIMIT = 64  # more fingers than anybody has


class Keyboard:
    """What a viewer holds down, and the guest's sink behind it."""

    def __init__(self, sink: InputSink) -> None:
        self._sink = sink
        self._held: dict[tuple[str, int], tuple[int, list[tuple[int, bool]]]] = {}
        self._down: dict[int, int] = {}  # how often each key is held
        self._caps = False

    def key(self, keysym: int, scan_code: int | None, *, down: bool) -> None:
        """What nobody has a key for is dropped."""
        name = ("place", scan_code) if scan_code is not None else ("letter", keysym)
        if not down:
            self._release(name)
            return
        if (held := self._held.get(name)) is not None:
            self._sink.key(held[0], True)  # it repeats
            return
        if len(self._held) >= HELD_LIMIT:
            return
        if scan_code is not None and (code := key_of_scan_code(scan_code)) is not None:
            self._press(name, code, None)
        elif (found := key_of_keysym(keysym)) is not None:
            self._press(name, *found)

    def release_all(self) -> None:
        """The viewer has gone, with its fingers on the keys perhaps."""
        for name in list(self._held):
            self._release(name)

    def _press(self, name: tuple[str, int], code: int, shifted: bool | None) -> None:
        undo = [] if shifted is None else self._make_shift(code, wanted=shifted)
        self._held[name] = (code, undo)
        self._move(code, down=True)
        if code == CAPS_LOCK:
            self._caps = not self._caps

    def _release(self, name: tuple[str, int]) -> None:
        if (held := self._held.pop(name, None)) is None:
            return
        code, undo = held
        self._move(code, down=False)
        for shift, down in undo:
            self._sink.key(shift, down)

    def _move(self, code: int, *, down: bool) -> None:
        """Two of the viewer's keys may be one of the guest's: it is up when both are."""
        count = self._down.pop(code, 0) + (1 if down else -1)
        if count > 0:
            self._down[code] = count
        if down or count <= 0:
            self._sink.key(code, down)

    def _make_shift(self, code: int, *, wanted: bool) -> list[tuple[int, bool]]:
        """Brings Shift into the state that a letter needs; gives the strokes that undo it."""
        held = [shift for shift in SHIFTS if shift in self._down]
        letter = len(NAMES[code]) == 1 and NAMES[code].isalpha()
        if bool(held) != wanted ^ (self._caps and letter):
            if not held:
                self._sink.key(SHIFT, True)
                return [(SHIFT, False)]
            for shift in held:
                self._sink.key(shift, False)
            return [(shift, True) for shift in held]
        return []
