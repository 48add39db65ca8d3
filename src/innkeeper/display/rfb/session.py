"""One viewer that has been let in: what it says, and what it is sent.

Spec: RFC 6143 7.3.2 to 7.6; rfbproto for the pseudo-encodings. Two tasks: one reads and obeys, one sends pictures, at
the viewer's own pace. Whatever a viewer does, no more than one update waits to be taken by it.
"""

import asyncio
import logging
import struct
from collections.abc import Callable
from concurrent.futures import Executor
from enum import IntEnum
from typing import TYPE_CHECKING, TypeVar

from innkeeper.display.input import InputSink
from innkeeper.display.rfb import clipboard, messages
from innkeeper.display.rfb.channel import Channel, Refused
from innkeeper.display.rfb.keyboard import Keyboard
from innkeeper.display.rfb.messages import Area
from innkeeper.records import dataclass

if TYPE_CHECKING:
    from innkeeper._core import Screen

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Pseudo(IntEnum):
    """What a viewer says that it knows, beside encodings."""

    DESKTOP_SIZE = -223
    LAST_RECT = -224
    CURSOR = -239
    QEMU_EXTENDED_KEY = -258
    DESKTOP_NAME = -307
    EXTENDED_DESKTOP_SIZE = -308
    FENCE = -312
    CONTINUOUS_UPDATES = -313
    ALPHA_CURSOR = -314
    EXTENDED_CLIPBOARD = -0x3F5E1A32


UPDATE, END_OF_CONTINUOUS_UPDATES, FENCE = 0, 150, 248
FENCE_REQUEST, FENCE_SYNC_NEXT, FENCE_FLAGS = 1 << 31, 1 << 2, 0b111
BETWEEN_UPDATES = (messages.SetPixelFormat, messages.SetEncodings, messages.Fence)
# 32 bits, depth 24, little-endian, true colour, three times 255, shifts 16, 8 and 0
PIXEL_FORMAT = struct.pack(">4B3H3B3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
RESIZED_BY_SERVER, RESIZED_BY_THIS_VIEWER = 0, 1
RESIZE_INVALID, RESIZE_FORWARDED = 3, 4
UNANSWERED_LIMIT = 3  # updates that a viewer with fences may have before it, unseen
NAME_BYTES = 256


@dataclass(frozen=True, slots=True)
class Display:
    """What all viewers of a server have in common."""

    screen: "Screen"
    sink: InputSink
    name: str
    stir: Callable[[], None]
    """Something was done that the screen may answer to."""
    workers: Executor
    take_text: Callable[[str], None]
    """A viewer has put this on its clipboard."""


class Session:
    """A viewer. `changed` and `offer_text` are for the server's loop."""

    def __init__(self, channel: Channel, display: Display) -> None:
        from innkeeper._core import Viewer

        self._channel = channel
        self._display = display
        self._viewer = Viewer()
        self._keyboard = Keyboard(display.sink)
        self._buttons = 0
        self._place = (0, 0)
        self._knows: frozenset[int] = frozenset()
        self._asked: Area | None = None  # for what the viewer waits
        self._always: Area | None = None  # what it gets without asking
        self._pending: list[bytes] = []  # rectangles that are no pixels
        self._unanswered = 0
        self._cursor: int | None = None
        self._text: str | None = None
        self._due = asyncio.Event()
        self._encoding = asyncio.Lock()  # held while pixels are in the making, in a format that may not change

    async def run(self) -> None:
        """Until the viewer leaves, which raises `Gone`, or is sent away, which raises `Refused`."""
        width, height = await self._in_worker(self._viewer.refresh, self._display.screen)
        width, height = self._viewer.follow()
        name = self._display.name.encode()[:NAME_BYTES]
        self._channel.write(struct.pack(">2H16sI", width, height, PIXEL_FORMAT, len(name)) + name)
        tasks = [asyncio.ensure_future(self._obey()), asyncio.ensure_future(self._send())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._let_go()

    def changed(self) -> None:
        """The screen has."""
        if self._asked is not None or self._always is not None:
            self._due.set()

    def offer_text(self, text: str) -> None:
        """The guest's clipboard, for the viewer's."""
        self._text = text
        if Pseudo.EXTENDED_CLIPBOARD in self._knows:
            self._channel.write(clipboard.notify(available=True))
        else:
            self._channel.write(clipboard.plain(text))

    def _let_go(self) -> None:
        self._keyboard.release_all()
        if self._buttons:
            self._move_pointer(0)

    async def _in_worker(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._display.workers, work, *arguments)

    # ---- what it says ---------------------------------------------------------------------------

    async def _obey(self) -> None:
        while True:
            message = await messages.read_message(self._channel)
            if not isinstance(message, BETWEEN_UPDATES):
                await self._obey_one(message)
                continue
            async with self._encoding:
                await self._obey_one(message)
                while is_tied_to_next(message):
                    message = await messages.read_message(self._channel)
                    await self._obey_one(message)

    async def _obey_one(self, message: messages.Message) -> None:
        self._obey_now(message)
        await self._channel.drain()  # who makes us answer takes the answers

    def _obey_now(self, message: messages.Message) -> None:  # noqa: C901 - one line for each message
        match message:
            case messages.UpdateRequest(area, incremental):
                self._request(area, incremental=incremental)
            case messages.Key(keysym, down, scan_code):
                self._keyboard.key(keysym, scan_code, down=down)
                self._display.stir()
            case messages.Pointer(x, y, buttons):
                self._point(x, y, buttons)
            case messages.SetPixelFormat(pixel_format):
                self._set_format(pixel_format)
            case messages.SetEncodings(numbers):
                self._set_encodings(numbers)
            case messages.CutText(data, extended):
                self._cut_text(data, extended=extended)
            case messages.Fence(flags, payload):
                self._fence(flags, payload)
            case messages.ContinuousUpdates(enable, area):
                self._continue(area if enable else None)
            case messages.SetDesktopSize(width, height, screens):
                self._prefer(width, height, screens)
            case messages.Ignored():
                pass

    def _request(self, area: Area, *, incremental: bool) -> None:
        if not incremental:
            self._viewer.forget(area.x, area.y, area.width, area.height)
        self._asked = area if self._asked is None else around(self._asked, area)
        self._due.set()

    def _point(self, x: int, y: int, buttons: int) -> None:
        self._place, self._buttons = (x, y), buttons
        self._move_pointer(buttons)
        self._display.stir()

    def _move_pointer(self, buttons: int) -> None:
        (x, y), (width, height) = self._place, self._viewer.told
        self._display.sink.pointer(min(x, width - 1), min(y, height - 1), width, height, buttons)

    def _set_format(self, pixel_format: bytes) -> None:
        try:
            self._viewer.set_format(pixel_format)
        except ValueError as error:
            raise Refused(f"its pixel format cannot be: {error}") from error
        self._cursor = None  # its pixels have the format, too

    def _set_encodings(self, numbers: tuple[int, ...]) -> None:
        self._viewer.set_encodings(list(numbers))
        new = frozenset(numbers) - self._knows
        self._knows = frozenset(numbers)
        if Pseudo.QEMU_EXTENDED_KEY in new:
            self._pending.append(rectangle(0, 0, 0, 0, Pseudo.QEMU_EXTENDED_KEY))
        if Pseudo.EXTENDED_DESKTOP_SIZE in new:
            self._pending.append(self._desktop_size(RESIZED_BY_SERVER, 0))
        if Pseudo.DESKTOP_NAME in new:
            name = self._display.name.encode()[:NAME_BYTES]
            self._pending.append(rectangle(0, 0, 0, 0, Pseudo.DESKTOP_NAME) + struct.pack(">I", len(name)) + name)
        if Pseudo.CONTINUOUS_UPDATES in new:
            self._channel.write(bytes([END_OF_CONTINUOUS_UPDATES]))
        if Pseudo.FENCE in new:
            self._channel.write(struct.pack(">B3xIB", FENCE, FENCE_REQUEST, 0))
        if Pseudo.EXTENDED_CLIPBOARD in new:
            self._channel.write(clipboard.capabilities())
        self._due.set()

    def _cut_text(self, data: bytes, *, extended: bool) -> None:
        if not extended:
            self._display.take_text(data.decode("latin-1"))
            return
        flags, rest = clipboard.action_of(data)
        if flags & clipboard.CAPABILITIES:
            return  # it says what it can do, not what it does: all of these bits are set
        if flags & clipboard.PROVIDE:
            if (text := clipboard.text_of(flags, rest)) is not None:
                self._display.take_text(text)
        elif flags & clipboard.NOTIFY:
            if flags & clipboard.TEXT:
                self._channel.write(clipboard.request())
        elif flags & clipboard.REQUEST:
            if self._text is not None and flags & clipboard.TEXT:
                self._channel.write(clipboard.provide(self._text))
        elif flags & clipboard.PEEK:
            self._channel.write(clipboard.notify(available=self._text is not None))

    def _fence(self, flags: int, payload: bytes) -> None:
        if flags & FENCE_REQUEST:
            self._channel.write(struct.pack(">B3xIB", FENCE, flags & FENCE_FLAGS, len(payload)) + payload)
        else:
            self._unanswered = max(self._unanswered - 1, 0)
            self._due.set()

    def _continue(self, area: Area | None) -> None:
        if area is None and self._always is not None:
            self._channel.write(bytes([END_OF_CONTINUOUS_UPDATES]))
        self._always = area
        self._due.set()

    def _prefer(self, width: int, height: int, screens: int) -> None:
        possible = screens == 1 and width > 0 and height > 0
        if possible:
            self._display.screen.prefer(width, height)
            self._display.stir()
        answer = RESIZE_FORWARDED if possible else RESIZE_INVALID
        if Pseudo.EXTENDED_DESKTOP_SIZE in self._knows:
            # An answer for each, but a viewer that asks without taking them gets only the last ones.
            self._pending = [*self._pending[-16:], self._desktop_size(RESIZED_BY_THIS_VIEWER, answer)]
            self._due.set()

    # ---- what it is sent ------------------------------------------------------------------------

    async def _send(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            await self._channel.drain()
            if self._unanswered < UNANSWERED_LIMIT:
                async with self._encoding:
                    await self._update()

    async def _update(self) -> None:
        area = self._asked if self._asked is not None else self._always
        if area is None:
            return
        size = await self._in_worker(self._viewer.refresh, self._display.screen)
        if size != self._viewer.told and (resize := self._resize()) is not None:
            self._put_update([resize], 0, b"")
            return
        if self._always is not None:
            area = around(area, self._always)
        count, body = await self._in_worker(self._viewer.update, area.x, area.y, area.width, area.height)
        pending, self._pending = self._pending, []
        if (cursor := self._new_cursor()) is not None:
            pending.append(cursor)
        if pending or count:
            self._put_update(pending, count, body)

    def _put_update(self, pending: list[bytes], count: int, body: bytes) -> None:
        self._channel.write(struct.pack(">BxH", UPDATE, len(pending) + count) + b"".join(pending) + body)
        self._asked = None
        if self._always is not None and Pseudo.FENCE in self._knows:
            self._unanswered += 1
            self._channel.write(struct.pack(">B3xIB", FENCE, FENCE_REQUEST, 0))
        if self._always is not None:
            self._due.set()  # it may have changed meanwhile

    def _resize(self) -> bytes | None:
        """Tells a viewer of the screen's new size, if it can follow. Otherwise it sees what fits."""
        if Pseudo.EXTENDED_DESKTOP_SIZE in self._knows:
            self._viewer.follow()
            return self._desktop_size(RESIZED_BY_SERVER, 0)
        if Pseudo.DESKTOP_SIZE in self._knows:
            return rectangle(0, 0, *self._viewer.follow(), Pseudo.DESKTOP_SIZE)
        return None

    def _desktop_size(self, why: int, status: int) -> bytes:
        width, height = self._viewer.told
        screen = struct.pack(">B3xI4HI", 1, 0, 0, 0, width, height, 0)
        return rectangle(why, status, width, height, Pseudo.EXTENDED_DESKTOP_SIZE) + screen

    def _new_cursor(self) -> bytes | None:
        """The pointer's shape if it has changed; none at all once the guest draws its own."""
        alpha = Pseudo.ALPHA_CURSOR in self._knows
        if not alpha and Pseudo.CURSOR not in self._knows:
            return None
        encoding = Pseudo.ALPHA_CURSOR if alpha else Pseudo.CURSOR
        found = self._display.screen.cursor()
        if (found[0] if found is not None else None) == self._cursor:
            return None
        shape = self._viewer.cursor(self._display.screen, alpha)
        if shape is None:
            self._cursor = None
            return rectangle(0, 0, 0, 0, encoding) + (bytes(4) if alpha else b"")
        self._cursor, hot_x, hot_y, width, height, body = shape
        return rectangle(hot_x, hot_y, width, height, encoding) + body


def is_tied_to_next(message: messages.Message) -> bool:
    """Whether no update may come between the answer to a fence and what the next message brings about."""
    tied = FENCE_REQUEST | FENCE_SYNC_NEXT
    return isinstance(message, messages.Fence) and message.flags & tied == tied


def rectangle(x: int, y: int, width: int, height: int, encoding: int) -> bytes:
    return struct.pack(">4Hi", x, y, width, height, encoding)


def around(one: Area, other: Area) -> Area:
    """The smallest area that has both."""
    left, top = min(one.x, other.x), min(one.y, other.y)
    right = max(one.x + one.width, other.x + other.width)
    bottom = max(one.y + one.height, other.y + other.height)
    return Area(left, top, right - left, bottom - top)
