"""What viewers say once they are in: one dataclass for each message, read with every length checked.

Spec: RFC 6143 7.5; rfbproto for QEMU's extended keys, fences, continuous updates, SetDesktopSize, extended clipboard.
Unknown messages end a conversation: nobody can tell where they end.
"""

import struct
from collections.abc import Awaitable, Callable

from innkeeper.display.rfb.channel import Channel, Refused
from innkeeper.records import dataclass

TEXT_LIMIT = 1 << 20
ENCODINGS_LIMIT = 1024
FENCE_LIMIT = 64
CHUNK = 64 << 10

SET_PIXEL_FORMAT, SET_ENCODINGS, UPDATE_REQUEST, KEY, POINTER, CUT_TEXT = 0, 2, 3, 4, 5, 6
CONTINUOUS_UPDATES, FENCE, SET_DESKTOP_SIZE, QEMU = 150, 248, 251, 255
QEMU_KEY, QEMU_AUDIO = 0, 1
AUDIO_SET_FORMAT = 2


@dataclass(frozen=True, slots=True)
class SetPixelFormat:
    """From now on, pixels shall look like this."""

    pixel_format: bytes


@dataclass(frozen=True, slots=True)
class SetEncodings:
    """What the viewer can decode, dearest first, and what else it knows."""

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle in pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """Tell me what is in this area, or with `incremental` what has changed there."""

    area: Area
    incremental: bool


@dataclass(frozen=True, slots=True)
class Key:
    """A key, by the letter it has on the viewer's keyboard; with a scan code, by its place there."""

    keysym: int
    down: bool
    scan_code: int | None = None


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where the pointer is, and what is pressed."""

    x: int
    y: int
    buttons: int


@dataclass(frozen=True, slots=True)
class CutText:
    """Text for the clipboard; `extended` has its own syntax."""

    data: bytes
    extended: bool


@dataclass(frozen=True, slots=True)
class ContinuousUpdates:
    """Updates of this area shall come by themselves, or no more."""

    enable: bool
    area: Area


@dataclass(frozen=True, slots=True)
class Fence:
    """To be answered when everything before has been seen to."""

    flags: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class SetDesktopSize:
    """The viewer would like the screen to have this size."""

    width: int
    height: int
    screens: int


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that needs no answer."""


Message = (
    SetPixelFormat | SetEncodings | UpdateRequest | Key | Pointer | CutText | ContinuousUpdates | Fence | SetDesktopSize
    | Ignored
)  # fmt: skip


async def read_message(channel: Channel) -> Message:
    """The next one. Raises `Refused` for what is none, and `Gone` at the end."""
    kind = (await channel.read(1))[0]
    read = _READERS.get(kind)
    if read is None:
        raise Refused(f"it sent a message {kind}, which does not exist")
    return await read(channel)


async def _pixel_format(channel: Channel) -> Message:
    return SetPixelFormat((await channel.read(19))[3:])


async def _encodings(channel: Channel) -> Message:
    _, count = struct.unpack(">BH", await channel.read(3))
    if count > ENCODINGS_LIMIT:
        raise Refused(f"it knows {count} encodings; at most {ENCODINGS_LIMIT} can be")
    return SetEncodings(struct.unpack(f">{count}i", await channel.read(4 * count)))


async def _update_request(channel: Channel) -> Message:
    incremental, *area = struct.unpack(">B4H", await channel.read(9))
    return UpdateRequest(Area(*area), bool(incremental))


async def _key(channel: Channel) -> Message:
    down, _, keysym = struct.unpack(">BHI", await channel.read(7))
    return Key(keysym, bool(down))


async def _pointer(channel: Channel) -> Message:
    buttons, x, y = struct.unpack(">B2H", await channel.read(5))
    return Pointer(x, y, buttons)


async def _cut_text(channel: Channel) -> Message:
    (size,) = struct.unpack(">3xi", await channel.read(7))
    extended = size < 0
    size = abs(size)
    if size <= TEXT_LIMIT:
        return CutText(await channel.read(size), extended)
    while size:  # too much to keep; what comes after it is wanted
        size -= len(await channel.read(min(size, CHUNK)))
    return Ignored()


async def _continuous(channel: Channel) -> Message:
    enable, *area = struct.unpack(">B4H", await channel.read(9))
    return ContinuousUpdates(bool(enable), Area(*area))


async def _fence(channel: Channel) -> Message:
    flags, size = struct.unpack(">3xIB", await channel.read(8))
    if size > FENCE_LIMIT:
        raise Refused(f"it sent a fence of {size} bytes; at most {FENCE_LIMIT} can be")
    return Fence(flags, await channel.read(size))


async def _desktop_size(channel: Channel) -> Message:
    width, height, screens = struct.unpack(">x2HBx", await channel.read(7))
    await channel.read(16 * screens)
    return SetDesktopSize(width, height, screens)


async def _qemu(channel: Channel) -> Message:
    kind = (await channel.read(1))[0]
    if kind == QEMU_KEY:
        down, keysym, scan_code = struct.unpack(">HII", await channel.read(10))
        return Key(keysym, bool(down), scan_code)
    if kind == QEMU_AUDIO:
        (operation,) = struct.unpack(">H", await channel.read(2))
        if operation == AUDIO_SET_FORMAT:
            await channel.read(6)
        return Ignored()
    raise Refused(f"it sent a QEMU message {kind}, which does not exist")


_READERS: dict[int, Callable[[Channel], Awaitable[Message]]] = {
    SET_PIXEL_FORMAT: _pixel_format,
    SET_ENCODINGS: _encodings,
    UPDATE_REQUEST: _update_request,
    KEY: _key,
    POINTER: _pointer,
    CUT_TEXT: _cut_text,
    CONTINUOUS_UPDATES: _continuous,
    FENCE: _fence,
    SET_DESKTOP_SIZE: _desktop_size,
    QEMU: _qemu,
}
