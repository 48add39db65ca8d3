"""BIOS video modes as programs set them, and pictures as programs draw them: the tests' own idea of a VGA.

The tables are those of the IBM PS/2 and PC BIOS Interface Technical Reference, INT 1Dh's successors. A picture is a
table of pixels; drawing goes through the window at A0000h as programs do it in each mode, and what must show is
computed from the picture alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

from innkeeper._core import Memory, Vga


@dataclass(frozen=True, slots=True)
class Mode:
    """Register values; `pixel` is how many dots wide and scan lines high a pixel shows."""

    width: int
    height: int
    colours: int
    misc: int
    sequencer: str
    crtc: str
    graphics: str
    attribute: str
    pixel: tuple[int, int]


CGA = "00131517020406071011121314151617"
PLAIN = "000102030405060708090a0b0c0d0e0f"


def crtc(text: str) -> str:
    values = text.replace(" ", "")
    assert len(values) == 50
    return values


MODES = {
    "4": Mode(320, 200, 4, 0x63, "0309030002", crtc("2d2728902b80bf1f 00c1000000000000 9c8e8f140096b9a2 ff"),
              "0000000000300f0fff", CGA + "0100030000", (2, 2)),
    "6": Mode(640, 200, 2, 0x63, "0301010006", crtc("5f4f50825480bf1f 00c1000000000000 9c8e8f280096b9c2 ff"),
              "0000000000000d0fff", "00" + "17" * 15 + "0100010000", (1, 2)),
    "0d": Mode(320, 200, 16, 0x63, "03090f0006", crtc("2d2728902b80bf1f 00c0000000000000 9c8e8f140096b9e3 ff"),
               "000000000000050fff", PLAIN + "01000f0000", (2, 2)),
    "0e": Mode(640, 200, 16, 0x63, "03010f0006", crtc("5f4f50825480bf1f 00c0000000000000 9c8e8f280096b9e3 ff"),
               "000000000000050fff", PLAIN + "01000f0000", (1, 2)),
    "12": Mode(640, 480, 16, 0xE3, "03010f0006", crtc("5f4f505482800b3e 0040000000000000 ea8cdf2800e704e3 ff"),
               "000000000000050fff", PLAIN + "01000f0000", (1, 1)),
    "13": Mode(320, 200, 256, 0x63, "03010f000e", crtc("5f4f50825480bf1f 0041000000000000 9c8e8f284096b9a3 ff"),
               "000000000040050fff", PLAIN + "41000f0000", (2, 2)),
    "x": Mode(320, 240, 256, 0xE3, "03010f0006", crtc("5f4f505482800d3e 0041000000000000 ea8cdf2800e706e3 ff"),
              "000000000040050fff", PLAIN + "41000f0000", (2, 2)),
}  # fmt: skip

Picture = list[list[int]]


class Card:
    """A VGA whose clock stands still, with ports and window as programs see them."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = (memory or Memory([(0, 4096)])).device_ram(16 << 20)
        self.chip = Vga(self.memory, still=True)
        self.ports, self.window, self.dispi = self.chip.ports, self.chip.window, self.chip.dispi_ports

    def out(self, port: int, value: int) -> None:
        self.ports.write(port - 0x3B0, 1, value)

    def register(self, port: int, index: int, value: int) -> None:
        self.ports.write(port - 0x3B0, 2, value << 8 | index)

    def attribute(self, index: int, value: int) -> None:
        self.ports.read(0x3DA - 0x3B0, 1)
        self.out(0x3C0, index)
        self.out(0x3C0, value)

    def bochs(self, **values: int) -> None:
        names = ["id", "x", "y", "depth", "enable", "bank", "virtual_width", "virtual_height", "left", "top"]
        for name, value in values.items():
            self.dispi.write(0, 2, names.index(name))
            self.dispi.write(1, 2, value)

    def set_mode(self, mode: Mode) -> None:
        self.out(0x3C2, mode.misc)
        self.register(0x3D4, 0x11, 0)
        for port, values in ((0x3C4, mode.sequencer), (0x3D4, mode.crtc), (0x3CE, mode.graphics)):
            for index, value in enumerate(bytes.fromhex(values)):
                self.register(port, index, value)
        for index, value in enumerate(bytes.fromhex(mode.attribute)):
            self.attribute(index, value)
        self.colours()

    def colours(self) -> None:
        """Every colour another, so that no mistake hides: red the index, green and blue mixed of it."""
        self.out(0x3C0, 0x20)
        self.out(0x3C8, 0)
        for index in range(256):
            for component in dac(index):
                self.out(0x3C9, component)


def dac(index: int) -> tuple[int, int, int]:
    return index & 63, index * 7 & 63, (index >> 6) * 21


def rgb(index: int) -> int:
    """What a monitor shows for an entry of the DAC."""
    red, green, blue = (value << 2 | value >> 4 for value in dac(index))
    return red << 16 | green << 8 | blue


def shown(mode: Mode, picture: Picture) -> list[list[int]]:
    """What the picture must look like, in dots and scan lines."""
    palette = list(bytes.fromhex(mode.attribute)[:16])
    colour = rgb if mode.colours == 256 else lambda index: rgb(palette[index])
    wide, high = mode.pixel
    return [[colour(pixel) for pixel in row for _ in range(wide)] for row in picture for _ in range(high)]


def draw_bytes(card: Card, picture: Picture) -> None:
    """Mode 13h: a byte a pixel."""
    for at, pixel in enumerate(pixel for row in picture for pixel in row):
        card.window.write(at, 1, pixel)


def draw_unchained(card: Card, picture: Picture) -> None:
    """Mode X: each fourth pixel in one plane."""
    for plane in range(4):
        card.register(0x3C4, 2, 1 << plane)
        for y, row in enumerate(picture):
            for x in range(plane, len(row), 4):
                card.window.write(y * (len(row) // 4) + x // 4, 1, row[x])


def draw_planes(card: Card, picture: Picture) -> None:
    """16 colours: each bit of a pixel in its plane."""
    for plane in range(4):
        card.register(0x3C4, 2, 1 << plane)
        for y, row in enumerate(picture):
            for x in range(0, len(row), 8):
                byte = sum((row[x + bit] >> plane & 1) << 7 - bit for bit in range(8))
                card.window.write((y * len(row) + x) // 8, 1, byte)


def draw_cga(card: Card, picture: Picture, bits: int) -> None:
    """CGA: packed pixels at B8000h, odd lines 8 KiB after even ones."""
    per_byte = 8 // bits
    for y, row in enumerate(picture):
        start = 0x1_8000 + y % 2 * 0x2000 + y // 2 * 80
        for x in range(0, len(row), per_byte):
            byte = 0
            for pixel in row[x : x + per_byte]:
                byte = byte << bits | pixel
            card.window.write(start + x // per_byte, 1, byte)


DRAW: dict[str, Callable[[Card, Picture], None]] = {
    "4": lambda card, picture: draw_cga(card, picture, 2),
    "6": lambda card, picture: draw_cga(card, picture, 1),
    "0d": draw_planes,
    "0e": draw_planes,
    "12": draw_planes,
    "13": draw_bytes,
    "x": draw_unchained,
}
