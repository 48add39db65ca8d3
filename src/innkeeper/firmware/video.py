"""What a video BIOS does before a kernel starts: 80 × 25 characters in 16 colours, for kernels that meet no firmware.

Spec: IBM PS/2 and PC BIOS Interface Technical Reference, INT 10h, mode 3 with its parameter table; the font and the
registers' values are those of every VGA BIOS.
"""

from innkeeper.bus import Device
from innkeeper.errors import BootError

COLUMNS, ROWS, GLYPH_LINES, MODE = 80, 25, 16, 3
GLYPHS = 256

FIRST_PORT = 0x3B0
ATTRIBUTE, MISCELLANEOUS, SEQUENCER, DAC_MASK, DAC_INDEX, DAC_DATA = 0x3C0, 0x3C2, 0x3C4, 0x3C6, 0x3C8, 0x3C9
GRAPHICS, CRTC, STATUS = 0x3CE, 0x3D4, 0x3DA
PALETTE_ON = 0x20
PLANE_2, TEXT = 0x0_0000, 0x1_8000  # in the window, while a font is loaded and in the mode itself

SEQUENCER_VALUES = bytes((0x03, 0x00, 0x03, 0x00, 0x02))
CRTC_VALUES = bytes.fromhex("5f4f50825581bf1f004f0d0e000000009c8e8f281f96b9a3ff")
GRAPHICS_VALUES = bytes((0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0E, 0x0F, 0xFF))
ATTRIBUTE_VALUES = bytes.fromhex("000102030405140738393a3b3c3d3e3f0c000f0800")
COLOURS_64 = range(64)  # two bits of each component: rgbRGB

_SMILEY = bytes.fromhex("00007e81a58181bd9981817e00000000")  # the second glyph of every 8 × 16 font


def font_of(bios: bytes) -> bytes:
    """The 8 × 16 font in a video BIOS. Raises `BootError` if there is none."""
    start = bios.find(_SMILEY) - GLYPH_LINES
    font = bios[max(start, 0) : start + GLYPHS * GLYPH_LINES]
    if start < 0 or len(font) != GLYPHS * GLYPH_LINES:
        raise BootError(f"the video BIOS of {len(bios)} bytes has no 8x16 font; take Debian's package seabios")
    return font


def set_text_mode(ports: Device, window: Device, font: bytes) -> None:
    """Programs a VGA at ports 3B0h-3DFh, with its window at A0000h, and clears its screen."""

    def out(port: int, value: int) -> None:
        ports.write(port - FIRST_PORT, 1, value)

    def table(port: int, values: bytes) -> None:
        for index, value in enumerate(values):
            ports.write(port - FIRST_PORT, 2, value << 8 | index)

    out(MISCELLANEOUS, 0x67)
    table(SEQUENCER, SEQUENCER_VALUES[:2] + bytes((0x04, 0x00, 0x06)))  # plane 2 by itself, for the font
    table(GRAPHICS, bytes((0, 0, 0, 0, 0, 0, 0x04, 0x0F, 0xFF)))
    for glyph in range(GLYPHS):
        for half in range(0, GLYPH_LINES, 8):
            lines = font[glyph * GLYPH_LINES + half :][:8]
            window.write(PLANE_2 + glyph * 32 + half, 8, int.from_bytes(lines, "little"))
    table(SEQUENCER, SEQUENCER_VALUES)
    table(GRAPHICS, GRAPHICS_VALUES)
    ports.write(CRTC - FIRST_PORT, 2, 0x0011)  # unlocks the timings
    table(CRTC, CRTC_VALUES)
    _set_colours(ports)
    for cell in range(0, 2 * COLUMNS * ROWS, 8):
        window.write(TEXT + cell, 8, 0x0720_0720_0720_0720)


def _set_colours(ports: Device) -> None:
    ports.write(DAC_MASK - FIRST_PORT, 1, 0xFF)
    ports.write(DAC_INDEX - FIRST_PORT, 1, 0)
    for colour in COLOURS_64:
        for strong, weak in ((0x04, 0x20), (0x02, 0x10), (0x01, 0x08)):
            level = 0x2A * bool(colour & strong) + 0x15 * bool(colour & weak)
            ports.write(DAC_DATA - FIRST_PORT, 1, level)
    for index, value in enumerate(ATTRIBUTE_VALUES):
        ports.read(STATUS - FIRST_PORT, 1)
        ports.write(ATTRIBUTE - FIRST_PORT, 1, index)
        ports.write(ATTRIBUTE - FIRST_PORT, 1, value)
    ports.write(ATTRIBUTE - FIRST_PORT, 1, PALETTE_ON)
