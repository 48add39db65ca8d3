"""The extended clipboard: text of any language, told of first and sent when it is asked for.

Spec: rfbproto, "Extended Clipboard Pseudo-Encoding". Left out: everything but plain text.
"""

import struct
import zlib

from innkeeper.display.rfb.channel import Refused
from innkeeper.display.rfb.messages import TEXT_LIMIT

TEXT = 1 << 0
CAPABILITIES, REQUEST, PEEK, NOTIFY, PROVIDE = 1 << 24, 1 << 25, 1 << 26, 1 << 27, 1 << 28
FORMATS = 0xFFFF
SERVER_CUT_TEXT = 3


def plain(text: str) -> bytes:
    """A ServerCutText of old: Latin-1."""
    data = text.replace("\r\n", "\n").encode("latin-1", "replace")
    return struct.pack(">B3xi", SERVER_CUT_TEXT, len(data)) + data


def capabilities() -> bytes:
    """What we can: text, up to a size."""
    return _message(CAPABILITIES | REQUEST | PEEK | NOTIFY | PROVIDE | TEXT, struct.pack(">I", TEXT_LIMIT))


def notify(*, available: bool) -> bytes:
    return _message(NOTIFY | (TEXT if available else 0))


def request() -> bytes:
    return _message(REQUEST | TEXT)


def provide(text: str) -> bytes:
    data = text.replace("\r\n", "\n").replace("\n", "\r\n").encode() + b"\0"
    return _message(PROVIDE | TEXT, zlib.compress(struct.pack(">I", len(data)) + data))


def _message(flags: int, data: bytes = b"") -> bytes:
    return struct.pack(">B3xiI", SERVER_CUT_TEXT, -(4 + len(data)), flags) + data


def action_of(data: bytes) -> tuple[int, bytes]:
    """Flags and what follows them. Raises `Refused` if it is too short for flags."""
    if len(data) < 4:
        raise Refused("it sent an extended clipboard message without flags")
    return int.from_bytes(data[:4]), data[4:]


def text_of(flags: int, data: bytes) -> str | None:
    """The text that a peer provides; None if it provides something else. Raises `Refused` for what is none."""
    if not flags & TEXT:
        return None
    unpacker = zlib.decompressobj()
    try:
        plain_data = unpacker.decompress(data, TEXT_LIMIT + 5)
    except zlib.error as error:
        raise Refused(f"it sent clipboard text that cannot be unpacked: {error}") from error
    if len(plain_data) < 4:
        raise Refused("it sent clipboard text without a size")
    size = int.from_bytes(plain_data[:4])
    if size > TEXT_LIMIT:
        return None  # more than we said that we take
    if size > len(plain_data) - 4:
        raise Refused("it sent less clipboard text than it said")
    text = plain_data[4 : 4 + size].removesuffix(b"\0")
    return text.decode("utf-8", "replace").replace("\r\n", "\n")
