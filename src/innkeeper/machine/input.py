"""From what viewers do with keyboard and pointer to a PS/2 keyboard and a PS/2 mouse, which knows movements only."""

from innkeeper.devices.i8042 import I8042
from innkeeper.devices.ps2.mouse import Click
from innkeeper.display import Button

CLICKS = {
    Button.LEFT: Click.LEFT,
    Button.MIDDLE: Click.MIDDLE,
    Button.RIGHT: Click.RIGHT,
    Button.BACK: Click.BACK,
    Button.FORWARD: Click.FORWARD,
}


class Ps2Input:
    """An `InputSink`. Where the pointer is at first is where it is taken to have been."""

    def __init__(self, controller: I8042) -> None:
        self._controller = controller
        self._last: tuple[int, int] | None = None
        self._buttons = Button(0)

    def key(self, code: int, down: bool, /) -> None:  # noqa: FBT001 - what a key is about
        self._controller.key(code, down)

    def pointer(self, x: int, y: int, _width: int, _height: int, buttons: int, /) -> None:
        last_x, last_y = self._last or (x, y)
        self._last = x, y
        pressed, self._buttons = Button(buttons) & ~self._buttons, Button(buttons)
        wheel = bool(pressed & Button.WHEEL_DOWN) - bool(pressed & Button.WHEEL_UP)
        clicks = Click(0)
        for button, click in CLICKS.items():
            if self._buttons & button:
                clicks |= click
        self._controller.mouse_moved(x - last_x, y - last_y, wheel, clicks)
