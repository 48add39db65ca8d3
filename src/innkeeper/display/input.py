"""What viewers do with a guest's keyboard and pointer, in words that no protocol and no chip owns.

Keys are Linux's `KEY_` codes (input-event-codes.h), which name places on a keyboard, not letters: `display/keys.py`
has their names. A pointer is where it is on a picture; what only knows movements makes them of two places.
"""

from enum import IntFlag
from typing import Protocol


class Button(IntFlag):
    """A pointer's buttons. A notch of a wheel is a press and a release."""

    LEFT = 1 << 0
    MIDDLE = 1 << 1
    RIGHT = 1 << 2
    WHEEL_UP = 1 << 3
    WHEEL_DOWN = 1 << 4
    WHEEL_LEFT = 1 << 5
    WHEEL_RIGHT = 1 << 6
    BACK = 1 << 7
    FORWARD = 1 << 8


class InputSink(Protocol):
    """A device that takes input. Called from viewers' threads: answers at once, and drops what does not fit."""

    def key(self, code: int, down: bool, /) -> None:
        """A key was pressed or released; `down` again for a key that is down is its repetition."""
        ...

    def pointer(self, x: int, y: int, width: int, height: int, buttons: int, /) -> None:
        """The pointer is at pixel x, y of a picture of width × height, with these `Button`s down."""
        ...
