"""Screen, keyboard and pointer of a running machine: what all who look at it and type on it share.

A reset brings a new keyboard controller; the desk stays, and whoever types goes on typing.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from innkeeper.devices.virtio import VirtioInputs
from innkeeper.display import InputSink
from innkeeper.display.keys import Stroke, typing
from innkeeper.display.picture import Picture, text_of
from innkeeper.errors import HostError

if TYPE_CHECKING:
    from innkeeper._core import Screen

LOOK_S = 0.05
TYPING_PAUSE_S = 0.01


class Desk:
    """An `InputSink` before those of the board that runs now. `screen` is None where the machine has no display."""

    def __init__(self, screen: Screen | None, virtio: VirtioInputs | None = None) -> None:
        self.screen = screen
        self._virtio = virtio or VirtioInputs(None, None)
        self._sink: InputSink | None = None
        self._one_at_a_time = threading.Lock()
        self._closed = threading.Event()

    def plug(self, sink: InputSink | None) -> None:
        """A board's keyboard and pointer; None while there is no board."""
        self._sink = sink

    def close(self) -> None:
        """Whoever still types stops."""
        self._closed.set()

    def key(self, code: int, down: bool, /) -> None:  # noqa: FBT001 - what a key is about
        sink = self._virtio if self._virtio.takes_keys() else self._sink
        if sink is not None:
            sink.key(code, down)

    def pointer(self, x: int, y: int, width: int, height: int, buttons: int, /) -> None:
        sink = self._virtio if self._virtio.takes_pointer() else self._sink
        if sink is not None:
            sink.pointer(x, y, width, height, buttons)

    def strike(self, strokes: list[Stroke], pause_s: float) -> None:
        """Presses and releases keys, one after the other, as slowly as a guest can follow.

        Raises `HostError` if the machine ends meanwhile.
        """
        with self._one_at_a_time:  # two who type at once take turns
            down: set[int] = set()
            try:
                for code, is_down in strokes:
                    self.key(code, is_down)
                    (down.add if is_down else down.discard)(code)
                    if self._closed.wait(pause_s):
                        raise HostError("the machine has ended before everything was typed")
            finally:
                for code in down:
                    self.key(code, False)  # noqa: FBT003 - up

    def picture(self) -> Picture:
        """What the screen shows. Raises `HostError` where there is none, or nothing on it yet."""
        from innkeeper._core import Frame

        frame = Frame()
        frame.refresh(self._need_screen())
        if not frame.width or not frame.height:
            raise HostError("the guest shows no picture yet")
        return Picture.from_bgrx(frame.width, frame.height, frame.pixels())

    def text(self) -> str:
        """What a screen in a text mode says. Raises `HostError` in other modes."""
        text = self._need_screen().text()
        if text is None:
            raise HostError("the guest's screen shows a picture, not text; take the screenshot as PNG")
        cells, columns, _, _ = text
        return text_of(cells, columns)

    def wait_for_text(self, words: str, *, timeout_s: float) -> str:
        """Waits until the screen says `words` in a text mode; gives all that it says then.

        Raises `TimeoutError`, which quotes the screen, and `HostError` if the machine ends before.
        """
        deadline = time.monotonic() + timeout_s
        while words not in (said := self._text_or_nothing()):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"no {words!r} on the screen within {timeout_s:g} s; it says {said!r}")
            if self._closed.wait(LOOK_S):
                raise HostError(f"the machine has ended, and its screen never said {words!r}; it says {said!r}")
        return said

    def type(self, text: str) -> None:
        """Types text as on a US keyboard. Raises `InnkeeperError` for what it does not have, or if the machine ends."""
        self.strike(typing(text), TYPING_PAUSE_S)

    def _text_or_nothing(self) -> str:
        text = self._need_screen().text()
        return text_of(text[0], text[1]) if text is not None else ""

    def _need_screen(self) -> Screen:
        if self.screen is None:
            raise HostError("the machine has no display")
        return self.screen


class Shown:
    """What a machine offers of its desk."""

    _desk: Desk | None = None

    @property
    def desk(self) -> Desk:
        """Screen, keyboard and pointer, once the machine was started; the last picture stays."""
        if self._desk is None:
            raise RuntimeError("the machine was not started")
        return self._desk

    def screenshot(self) -> Picture:
        """What the screen shows. Raises `HostError` where there is none."""
        return self.desk.picture()

    def screen_text(self) -> str:
        """What the screen says, line by line. Raises `HostError` unless it shows characters."""
        return self.desk.text()
