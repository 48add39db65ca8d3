"""A picture of a screen, and its files: PNG, PPM, or its text.

Spec: PNG (ISO/IEC 15948), eight bits a colour, no filters; Netpbm's PPM (P6); code page 437 for text.
"""

import os
import struct
import zlib
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from innkeeper.errors import HostError
from innkeeper.records import dataclass

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# What a PC's screen shows for the codes that are control characters elsewhere.
LOW_GLYPHS = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"


class PictureFormat(StrEnum):
    """How a screenshot is written."""

    PNG = "png"
    PPM = "ppm"
    TEXT = "txt"


@dataclass(frozen=True, slots=True)
class Picture:
    """Pixels row by row, three bytes each: red, green, blue."""

    width: int
    height: int
    rgb: bytes

    @classmethod
    def from_bgrx(cls, width: int, height: int, pixels: bytes) -> "Picture":
        r"""From a frame's pixels.

        >>> Picture.from_bgrx(1, 1, b"\x01\x02\x03\x00").rgb
        b'\x03\x02\x01'
        """
        rgb = bytearray(3 * width * height)
        rgb[0::3], rgb[1::3], rgb[2::3] = pixels[2::4], pixels[1::4], pixels[0::4]
        return cls(width, height, bytes(rgb))

    @classmethod
    def from_answer(cls, found: Mapping[str, Any]) -> "Picture":
        """From what a running machine's control socket answers to `screenshot`."""
        return cls(found["width"], found["height"], zlib.decompress(b64decode(found["rgb"])))

    def png(self) -> bytes:
        stride = 3 * self.width
        rows = b"".join(b"\0" + self.rgb[at : at + stride] for at in range(0, len(self.rgb), stride))
        header = struct.pack(">2I5B", self.width, self.height, 8, 2, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
        return PNG_SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)

    def ppm(self) -> bytes:
        return b"P6\n%d %d\n255\n" % (self.width, self.height) + self.rgb


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def text_of(cells: list[tuple[int, int]], columns: int) -> str:
    r"""What the characters say, line by line, without the blanks at the ends.

    >>> text_of([(72, 7), (105, 7), (32, 7), (2, 7), (0xFA, 7), (0, 7)], 3)
    'Hi\n☻·\n'
    """
    codes = bytes(character for character, _ in cells)
    glyphs = "".join(LOW_GLYPHS[code] if code < 0x20 else bytes([code]).decode("cp437") for code in codes)
    return "".join(glyphs[at : at + columns].rstrip() + "\n" for at in range(0, len(glyphs), columns))


def write_whole(path: Path, data: bytes) -> None:
    """All of a file or nothing: what was there stays until it is complete. Raises `HostError`."""
    temporary = None
    try:
        if path.exists() and not path.is_file():  # a terminal, a pipe, /dev/null
            path.write_bytes(data)
            return
        import tempfile

        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(descriptor, 0o666 & ~_umask())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink()
        raise HostError(f"cannot write {path}: {error.strerror}") from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
