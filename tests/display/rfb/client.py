"""A VNC viewer for tests and benchmarks: plain sockets, every encoding, and a picture to compare with.

Written from the specification, not from the server: where they disagree, a test fails.
"""

import socket
import ssl
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Self

from innkeeper.display.rfb import des

RAW, HEXTILE, ZLIB, TIGHT, ZRLE = 0, 5, 6, 7, 16
ENCODINGS = {"raw": RAW, "hextile": HEXTILE, "zlib": ZLIB, "tight": TIGHT, "zrle": ZRLE}
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Format:
    """A pixel format: bits, depth, byte order, three times a maximum and a shift."""

    bits: int = 32
    depth: int = 24
    big_endian: bool = False
    maxima: tuple[int, int, int] = (255, 255, 255)
    shifts: tuple[int, int, int] = (16, 8, 0)
    true_colour: bool = True

    def pack(self) -> bytes:
        return struct.pack(
            ">4B3H3B3x", self.bits, self.depth, self.big_endian, self.true_colour, *self.maxima, *self.shifts
        )

    def value(self, data: bytes) -> int:
        return int.from_bytes(data, "big" if self.big_endian else "little")

    def seen(self, pixel: int) -> int:
        """What becomes of 0xRRGGBB in this format."""
        parts = zip((pixel >> 16 & 255, pixel >> 8 & 255, pixel & 255), self.maxima, self.shifts, strict=True)
        return sum((part * most + 127) // 255 << shift for part, most, shift in parts)

    def cpixel(self) -> tuple[int, int]:
        """Bytes of a CPIXEL, and by how much its value is to be shifted up."""
        used = sum(most << shift for most, shift in zip(self.maxima, self.shifts, strict=True))
        if self.bits == 32 and self.depth <= 24 and not used >> 24:
            return 3, 0
        return (3, 8) if self.bits == 32 and self.depth <= 24 and not used & 255 else (self.bits // 8, 0)


class Client:
    """Connects and shakes hands at once, unless told not to."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_S)
        self.socket = connection
        self.width = self.height = 0
        self.name = ""
        self.format = Format()
        self.pixels: list[int] = []
        self.pseudo: list[tuple[int, int, int, int, int, bytes]] = []
        self.texts: list[bytes] = []
        self.ended_continuous = 0
        self.fences: list[tuple[int, bytes]] = []
        self.answers_fences = True
        self.bytes_received = 0
        self._zlib, self._zrle = zlib.decompressobj(), zlib.decompressobj()
        self._tight = [zlib.decompressobj() for _ in range(4)]
        self.jpegs = 0
        self.decodes = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    # ---- bytes ----------------------------------------------------------------------------------

    def read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        self.bytes_received += count
        return bytes(data)

    def unpack(self, form: str) -> tuple[int, ...]:
        return struct.unpack(">" + form, self.read(struct.calcsize(">" + form)))

    def send(self, form: str, *values: int | bytes) -> None:
        self.socket.sendall(struct.pack(">" + form, *values))

    # ---- coming in ------------------------------------------------------------------------------

    def shake_hands(
        self, version: bytes = b"RFB 003.008\n", kind: int = 1, password: str = "", *, shared: bool = True
    ) -> None:
        offered = self.begin(version)
        if version < b"RFB 003.007\n":
            assert offered == [kind]
        else:
            assert kind in offered
            self.send("B", kind)
        if kind == 2:
            self.answer(password)
        if kind == 2 or version >= b"RFB 003.008\n":
            assert self.unpack("I") == (0,)
        self.enter(shared=shared)

    def begin(self, version: bytes = b"RFB 003.008\n") -> list[int]:
        assert self.read(12) == b"RFB 003.008\n"
        self.socket.sendall(version)
        if version < b"RFB 003.007\n":
            return list(self.unpack("I"))
        return list(self.read(self.read(1)[0]))

    def answer(self, password: str) -> None:
        self.socket.sendall(des.answer(password.encode(), self.read(16)))

    def vencrypt(self, context: ssl.SSLContext | None) -> int:
        """Agrees on the subtype that is offered, and encrypts."""
        self.send("B", 19)
        assert self.read(2) == b"\x00\x02"
        self.socket.sendall(b"\x00\x02")
        assert self.read(1) == b"\x00"
        subtypes = self.unpack(f"{self.read(1)[0]}I")
        self.send("I", subtypes[0])
        if context is not None:
            assert self.read(1) == b"\x01"
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        return subtypes[0]

    def enter(self, *, shared: bool = True) -> None:
        self.send("B", shared)
        self.width, self.height = self.unpack("2H")
        assert self.read(16) == Format().pack()
        self.name = self.read(*self.unpack("I")).decode()
        self.pixels = [-1] * (self.width * self.height)

    # ---- saying ---------------------------------------------------------------------------------

    def set_format(self, form: Format) -> None:
        self.format = form
        self.socket.sendall(b"\x00\x00\x00\x00" + form.pack())

    def set_encodings(self, *numbers: int) -> None:
        self.send(f"BxH{len(numbers)}i", 2, len(numbers), *numbers)

    def request(self, area: tuple[int, int, int, int] | None = None, *, incremental: bool = False) -> None:
        self.send("2B4H", 3, incremental, *(area or (0, 0, self.width, self.height)))

    def key(self, keysym: int, *, down: bool) -> None:
        self.send("BBxxI", 4, down, keysym)

    def pointer(self, x: int, y: int, buttons: int) -> None:
        self.send("2B2H", 5, buttons, x, y)

    # ---- hearing --------------------------------------------------------------------------------

    def update(self, *, incremental: bool = False) -> None:
        self.request(incremental=incremental)
        self.hear_update()

    def hear_update(self) -> None:
        """Hears messages until one is an update."""
        while not self.hear():
            pass

    def hear_to_the_end(self) -> int:
        """Until there is nothing more, which raises; counts the updates."""
        updates = 0
        try:
            while True:
                updates += self.hear()
        except TimeoutError:
            return updates

    def hear(self) -> bool:
        """One message; True if it was an update."""
        kind = self.read(1)[0]
        if kind == 0:
            (count,) = self.unpack("xH")
            for _ in range(count):
                self._rectangle()
        elif kind == 3:
            (size,) = self.unpack("3xi")
            self.texts.append(struct.pack(">i", size) + self.read(abs(size)))
        elif kind == 150:
            self.ended_continuous += 1
        elif kind == 248:
            flags, size = self.unpack("3xIB")
            payload = self.read(size)
            self.fences.append((flags, payload))
            if flags >> 31 and self.answers_fences:
                self.send(f"B3xIB{size}s", 248, flags & 7, size, payload)
        else:
            raise AssertionError(f"the server sent a message {kind}")
        return kind == 0

    def _rectangle(self) -> None:
        x, y, width, height, encoding = self.unpack("4Hi")
        if encoding < 0:
            self.pseudo.append((encoding, x, y, width, height, self._pseudo(encoding, width, height)))
            return
        decode: dict[int, Callable[[int, int, int, int], None]] = {
            RAW: self._raw,
            HEXTILE: self._hextile,
            ZLIB: self._zlib_rectangle,
            TIGHT: self._tight_rectangle,
            ZRLE: self._zrle_rectangle,
        }
        assert x + width <= self.width
        assert y + height <= self.height
        decode[encoding](x, y, width, height)

    def _pseudo(self, encoding: int, width: int, height: int) -> bytes:
        if encoding in (-223, -308):
            self.width, self.height = width, height
            self.pixels = [-1] * (width * height)
        if encoding == -308:
            head = self.read(4)
            return head + self.read(16 * head[0])
        if encoding == -307:
            return self.read(*self.unpack("I"))
        if encoding == -239:
            return self.read(width * height * self.format.bits // 8 + (width + 7) // 8 * height)
        if encoding == -314:
            return self.read(4 + 4 * width * height)
        return b""

    # ---- decoding -------------------------------------------------------------------------------

    def put(self, x: int, y: int, width: int, values: list[int]) -> None:
        for row in range(len(values) // width):
            at = (y + row) * self.width + x
            self.pixels[at : at + width] = values[row * width : (row + 1) * width]

    def _values(self, data: bytes, size: int, shift: int = 0) -> list[int]:
        if size == 4 and not self.format.big_endian:
            return list(struct.unpack(f"<{len(data) // 4}I", data))
        return [self.format.value(data[at : at + size]) << shift for at in range(0, len(data), size)]

    def _raw(self, x: int, y: int, width: int, height: int) -> None:
        size = self.format.bits // 8
        data = self.read(width * height * size)
        if self.decodes:
            self.put(x, y, width, self._values(data, size))

    def _zlib_rectangle(self, x: int, y: int, width: int, height: int) -> None:
        data = self._zlib.decompress(self.read(*self.unpack("I")))
        size = self.format.bits // 8
        assert len(data) == width * height * size
        if self.decodes:
            self.put(x, y, width, self._values(data, size))

    def _hextile(self, left: int, top: int, width: int, height: int) -> None:
        size = self.format.bits // 8
        background = foreground = -1
        for y in range(top, top + height, 16):
            for x in range(left, left + width, 16):
                wide, high = min(16, left + width - x), min(16, top + height - y)
                how = self.read(1)[0]
                if how & 1:
                    self.put(x, y, wide, self._values(self.read(wide * high * size), size))
                    background = foreground = -1
                    continue
                if how & 2:
                    background = self.format.value(self.read(size))
                if how & 4:
                    foreground = self.format.value(self.read(size))
                assert background >= 0
                self.put(x, y, wide, [background] * (wide * high))
                for _ in range(self.read(1)[0] if how & 8 else 0):
                    colour = self.format.value(self.read(size)) if how & 16 else foreground
                    assert colour >= 0
                    place, sides = self.read(2)
                    part = (sides >> 4) + 1, (sides & 15) + 1
                    self.put(x + (place >> 4), y + (place & 15), part[0], [colour] * (part[0] * part[1]))

    def _zrle_rectangle(self, left: int, top: int, width: int, height: int) -> None:
        data = BytesIO(self._zrle.decompress(self.read(*self.unpack("I"))))
        if not self.decodes:
            return
        for y in range(top, top + height, 64):
            for x in range(left, left + width, 64):
                wide, high = min(64, left + width - x), min(64, top + height - y)
                self.put(x, y, wide, self._zrle_tile(data, wide, high))
        assert not data.read()

    def _zrle_tile(self, data: BytesIO, wide: int, high: int) -> list[int]:
        size, shift = self.format.cpixel()
        kind = data.read(1)[0]

        def colours(count: int) -> list[int]:
            return self._values(data.read(count * size), size, shift)

        def length() -> int:
            total = 1
            while (more := data.read(1)[0]) == 255:
                total += 255
            return total + more

        if kind == 0:
            return colours(wide * high)
        if kind == 1:
            return colours(1) * (wide * high)
        out: list[int] = []
        if kind <= 16:
            out = packed(data, colours(kind), wide, high)
        elif kind == 128:
            while len(out) < wide * high:
                out += colours(1) * length()
        else:
            assert kind >= 130
            palette = colours(kind - 128)
            while len(out) < wide * high:
                number = data.read(1)[0]
                out += [palette[number & 127]] * (length() if number & 128 else 1)
        assert len(out) == wide * high
        return out

    def _tight_rectangle(self, x: int, y: int, width: int, height: int) -> None:
        control = self.read(1)[0]
        assert control & 15 == 0, "a stream was reset"
        is_rgb = self.format.bits == 32 and self.format.depth == 24 and self.format.maxima == (255, 255, 255)
        size = 3 if is_rgb else self.format.bits // 8

        def colours(data: bytes) -> list[int]:
            if not is_rgb:
                return self._values(data, size)
            red, green, blue = self.format.shifts
            parts = zip(data[::3], data[1::3], data[2::3], strict=True)
            return [r << red | g << green | b << blue for r, g, b in parts]

        if control >> 4 == 8:
            self.put(x, y, width, colours(self.read(size)) * (width * height))
            return
        if control >> 4 == 9:
            assert self.read(self._length())[:2] == b"\xff\xd8"
            self.jpegs += 1
            self.put(x, y, width, [-2] * (width * height))
            return
        stream = self._tight[control >> 4 & 3]
        if not control & 0x40 or self.read(1) == b"\x00":
            data = self._tight_data(stream, width * height * size)
            if self.decodes:
                self.put(x, y, width, colours(data))
            return
        palette = colours(self.read((self.read(1)[0] + 1) * size))
        if len(palette) == 2:
            data = self._tight_data(stream, (width + 7) // 8 * height)
            stride = (width + 7) // 8
            numbers = [data[row * stride + at // 8] >> (7 - at % 8) & 1 for row in range(height) for at in range(width)]
        else:
            numbers = list(self._tight_data(stream, width * height))
        if self.decodes:
            self.put(x, y, width, [palette[number] for number in numbers])

    def _tight_data(self, stream: "zlib._Decompress", size: int) -> bytes:
        if size < 12:
            return self.read(size)
        data = stream.decompress(self.read(self._length()))
        assert len(data) == size
        return data

    def _length(self) -> int:
        value = 0
        for shift in (0, 7, 14):
            byte = self.read(1)[0]
            value |= (byte if shift == 14 else byte & 127) << shift
            if shift < 14 and not byte & 128:
                break
        return value


def packed(data: BytesIO, palette: list[int], wide: int, high: int) -> list[int]:
    """Numbers of colours, as many to a byte as fit; each row begins a byte."""
    bits = 1 if len(palette) == 2 else 2 if len(palette) <= 4 else 4
    out: list[int] = []
    for _ in range(high):
        row = data.read((wide * bits + 7) // 8)
        numbers = (row[at * bits // 8] >> (8 - bits - at * bits % 8) & ((1 << bits) - 1) for at in range(wide))
        out += [palette[number] for number in numbers]
    return out
