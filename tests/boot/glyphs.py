"""Reads what is written on a picture of a guest's screen: characters of the 8 x 16 font that every VGA BIOS has."""

import re

from innkeeper.firmware.video import GLYPH_LINES, font_of
from innkeeper.host.packages import VIDEO_BIOS

COLUMNS = 8
UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # as Linux's w and x, which have a shape of their own


def text_of(ppm: bytes) -> str:
    """The text on a black screen, line by line; the picture is a binary PPM."""
    head = re.match(rb"P6\s(\d+)\s(\d+)\s255\s", ppm)
    assert head is not None, ppm[:20]
    width, height, start = int(head[1]), int(head[2]), head.end()
    lit = bytes(any(ppm[at : at + 3]) for at in range(start, start + 3 * width * height, 3))
    font = font_of(VIDEO_BIOS.read_bytes())
    known = {font[GLYPH_LINES * code :][:GLYPH_LINES]: chr(code) for code in range(0x20, 0x7F)}
    rows = []
    for top in range(0, height - GLYPH_LINES + 1, GLYPH_LINES):
        lines = [lit[(top + line) * width :][:width] for line in range(GLYPH_LINES)]
        cells = (bytes(_bits(line[at : at + COLUMNS]) for line in lines) for at in range(0, width, COLUMNS))
        rows.append("".join(known.get(cell, UNKNOWN) for cell in cells).rstrip())
    return "\n".join(rows)


def _bits(pixels: bytes) -> int:
    return sum(pixel << COLUMNS - 1 - at for at, pixel in enumerate(pixels))
