"""From a screen to a terminal's escape sequences: only what differs from what the terminal shows already.

Spec: ECMA-48 (CUP, ED, SGR), xterm's 24-bit colours. A cell is what is drawn at one place: a glyph with the SGR
parameters that it needs. Left out: terminals of fewer than 16 colours.
"""

from dataclasses import field

from innkeeper.display.picture import LOW_GLYPHS
from innkeeper.records import dataclass

# IBM's order of colours has blue where ANSI's has red.
_ANSI = (0, 4, 2, 6, 1, 5, 3, 7)
_BRIGHT, _BLINK = 0x08, 0x80
GLYPHS = [LOW_GLYPHS[code] if code < 0x20 else bytes([code]).decode("cp437") for code in range(256)]
GLYPHS[0x7F], GLYPHS[0xFF] = "⌂", " "

HALF = "▀"
BRIDGE_LIMIT = 5  # cells
CLEAR, HIDE_CURSOR, SHOW_CURSOR = "\x1b[0m\x1b[2J", "\x1b[?25l", "\x1b[?25h"

Cell = tuple[str, str]
"""A glyph, and its SGR parameters."""
Text = tuple[list[tuple[int, int]], int, int, tuple[int, int] | None]
"""Cells, columns, rows and cursor, as `_core.Screen.text` gives them."""


def _style(attribute: int) -> str:
    ink = (90 if attribute & _BRIGHT else 30) + _ANSI[attribute & 7]
    paper = 40 + _ANSI[attribute >> 4 & 7]
    return f"{ink};{paper};5" if attribute & _BLINK else f"{ink};{paper}"


STYLES = [_style(attribute) for attribute in range(256)]


@dataclass(slots=True)
class Sheet:
    """What a terminal is to show: rows of cells, and where the cursor is."""

    columns: int
    rows: int
    cells: dict[tuple[int, int], Cell] = field(default_factory=dict)
    """By row and column."""
    cursor: tuple[int, int] | None = None


def sheet_of_text(text: Text, size: tuple[int, int]) -> Sheet:
    """As much of a text screen as fits; of a larger one the part where the cursor is."""
    cells, columns, rows, cursor = text
    wide, high = size
    left = top = 0
    if cursor is not None:
        left, top = max(0, cursor[0] - wide + 1), max(0, cursor[1] - high + 1)
    sheet = Sheet(wide, high)
    for row in range(min(high, rows - top)):
        start = (row + top) * columns + left
        for column, (character, attribute) in enumerate(cells[start : start + min(wide, columns - left)]):
            sheet.cells[row, column] = GLYPHS[character], STYLES[attribute]
    if cursor is not None and cursor[0] - left < wide and cursor[1] - top < high:
        sheet.cursor = cursor[1] - top, cursor[0] - left
    return sheet


def sheet_of_picture(width: int, height: int, pixels: bytes, size: tuple[int, int]) -> Sheet:
    """A picture scaled down to half blocks, two above each other in a cell; its shape is kept.

    `pixels` are four bytes each: blue, green, red, 0.
    """
    columns, rows = size
    sheet = Sheet(columns, rows)
    if not width or not height:
        return sheet
    scale = max(width / columns, height / (2 * rows), 1e-9)
    wide, high = max(1, min(columns, round(width / scale))), max(2, min(2 * rows, round(height / scale)))
    across = [_samples(column, wide, width) for column in range(wide)]
    for row in range(high // 2):
        above, below = (_samples(half, high, height) for half in (2 * row, 2 * row + 1))
        for column, xs in enumerate(across):
            upper, lower = (_mean(pixels, width, xs, ys) for ys in (above, below))
            sheet.cells[row, column] = HALF, f"38;2;{upper};48;2;{lower}"
    return sheet


def _samples(index: int, count: int, length: int) -> tuple[int, int]:
    """Two places within a pixel of the small picture."""
    return tuple(min(length - 1, (4 * index + quarter) * length // (4 * count)) for quarter in (1, 3))  # type: ignore[return-value]


def _mean(pixels: bytes, width: int, xs: tuple[int, int], ys: tuple[int, int]) -> str:
    places = [4 * (y * width + x) for y in ys for x in xs]
    red, green, blue = (sum(pixels[at + component] for at in places) // 4 for component in (2, 1, 0))
    return f"{red};{green};{blue}"


class Canvas:
    """Remembers what the terminal shows."""

    def __init__(self) -> None:
        self._shown: Sheet | None = None

    def draw(self, sheet: Sheet) -> str:
        """What to write so that the terminal shows this sheet; empty if it does."""
        before = self._shown
        self._shown = sheet
        out = []
        if before is None or (before.columns, before.rows) != (sheet.columns, sheet.rows):
            out.append(CLEAR)
            before = Sheet(sheet.columns, sheet.rows)
        changed = [place for place, cell in sheet.cells.items() if before.cells.get(place) != cell]
        changed += [place for place in before.cells if place not in sheet.cells]
        out += _cells(sheet, sorted(changed))
        if out or sheet.cursor != before.cursor:
            place = sheet.cursor
            out.append(f"\x1b[{place[0] + 1};{place[1] + 1}H{SHOW_CURSOR}" if place is not None else HIDE_CURSOR)
        return "".join(out)


def _cells(sheet: Sheet, places: list[tuple[int, int]]) -> list[str]:
    out: list[str] = []
    at, style = (-1, -1), ""
    for row, column in places:
        glyph, wanted = sheet.cells.get((row, column), (" ", "0"))
        if (row, column) != at:
            bridge = _bridge(sheet, at, column, style) if at[0] == row else ""
            out.append(bridge or f"\x1b[{row + 1};{column + 1}H")
        if wanted != style:
            out.append(f"\x1b[0;{wanted}m")
        out.append(glyph)
        at, style = (row, column + 1), wanted
    if out:
        out.append("\x1b[0m")
    return out


def _bridge(sheet: Sheet, at: tuple[int, int], column: int, style: str) -> str:
    """The cells up to a column, where writing them once more is shorter than to go there."""
    if column - at[1] > BRIDGE_LIMIT:
        return ""
    between = [sheet.cells.get((at[0], passed), ("", "")) for passed in range(at[1], column)]
    return "".join(glyph for glyph, _ in between) if all(own == style for _, own in between) else ""
