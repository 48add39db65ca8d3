"""What viewers do, as the events of virtio keyboards and tablets (linux/input-event-codes.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innkeeper.display.input import Button

if TYPE_CHECKING:
    from innkeeper import _core

EV_KEY, EV_REL, EV_ABS = 1, 2, 3
ABS_X, ABS_Y = 0, 1
REL_HWHEEL, REL_WHEEL = 6, 8
UP, DOWN, REPEATED = 0, 1, 2
BUTTONS = {
    Button.LEFT: 0x110,
    Button.RIGHT: 0x111,
    Button.MIDDLE: 0x112,
    Button.BACK: 0x113,
    Button.FORWARD: 0x114,
}
WHEELS = {
    Button.WHEEL_UP: (REL_WHEEL, 1),
    Button.WHEEL_DOWN: (REL_WHEEL, -1),
    Button.WHEEL_LEFT: (REL_HWHEEL, -1),
    Button.WHEEL_RIGHT: (REL_HWHEEL, 1),
}


class VirtioInputs:
    """A machine's virtio keyboard and tablet, each taking input once the guest's driver listens to it."""

    def __init__(self, keyboard: _core.VirtioInput | None, tablet: _core.VirtioInput | None) -> None:
        self._keyboard = keyboard
        self._tablet = tablet
        self._down: set[int] = set()
        self._buttons = 0

    def takes_keys(self) -> bool:
        return self._keyboard is not None and self._keyboard.listening

    def takes_pointer(self) -> bool:
        return self._tablet is not None and self._tablet.listening

    def key(self, code: int, down: bool, /) -> None:
        if self._keyboard is None:
            return
        value = UP if not down else REPEATED if code in self._down else DOWN
        (self._down.add if down else self._down.discard)(code)
        self._keyboard.send([(EV_KEY, code, value)])

    def pointer(self, x: int, y: int, width: int, height: int, buttons: int, /) -> None:
        if self._tablet is None:
            return
        most = self._tablet.TABLET_RANGE
        places = ((ABS_X, x, width), (ABS_Y, y, height))
        events = [(EV_ABS, axis, min(max(place, 0) * most // max(size - 1, 1), most)) for axis, place, size in places]
        changed, self._buttons = self._buttons ^ buttons, buttons
        events += [(EV_KEY, code, int(bool(buttons & bit))) for bit, code in BUTTONS.items() if changed & bit]
        events += [(EV_REL, code, step) for bit, (code, step) in WHEELS.items() if changed & buttons & bit]
        self._tablet.send(events)
