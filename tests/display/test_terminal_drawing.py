"""Sheets of cells, and the least that makes a terminal show them: read back by a terminal of the test's own."""

import random
import re

from innkeeper.display.terminal.drawing import HALF, Canvas, Sheet, Text, sheet_of_picture, sheet_of_text


class Paper:
    """A terminal that knows just what is sent to it."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, int], tuple[str, str]] = {}
        self.at, self.style, self.cursor_shown = (0, 0), "0", True

    def write(self, text: str) -> None:
        for sequence, parameters, final, glyph in re.findall(r"(\x1b\[([?\d;]*)([A-Za-z]))|(.)", text, re.DOTALL):
            if not sequence:
                self.cells[self.at] = (glyph, self.style)
                self.at = self.at[0], self.at[1] + 1
            elif final == "H":
                row, column = map(int, parameters.split(";"))
                self.at = row - 1, column - 1
            elif final == "J":
                self.cells.clear()
            elif final == "m":
                self.style = parameters.removeprefix("0;")
            else:
                assert (parameters, final) in (("?25", "h"), ("?25", "l"))
                self.cursor_shown = final == "h"


def text(columns: int, rows: int, cursor: tuple[int, int] | None, seed: int = 0) -> Text:
    noise = random.Random(seed)
    return [(noise.randrange(256), noise.randrange(256)) for _ in range(columns * rows)], columns, rows, cursor


def test_a_terminal_shows_every_sheet_whatever_came_before() -> None:
    paper, canvas, noise = Paper(), Canvas(), random.Random(3)
    for seed in range(60):
        size = (noise.randrange(2, 90), noise.randrange(1, 30)) if seed % 5 == 0 else (80, 25)
        cursor = (noise.randrange(80), noise.randrange(25)) if seed % 3 else None
        sheet = sheet_of_text(text(80, 25, cursor, seed % 4), size)
        paper.write(canvas.draw(sheet))

        shown = {place: cell for place, cell in paper.cells.items() if cell != (" ", "0")}
        assert shown == sheet.cells
        assert paper.cursor_shown == (sheet.cursor is not None)
        assert sheet.cursor in (None, paper.at)


def test_nothing_is_sent_for_what_is_shown() -> None:
    canvas = Canvas()
    cells, columns, rows, cursor = text(80, 25, (3, 4))
    canvas.draw(sheet_of_text((cells, columns, rows, cursor), (80, 25)))
    assert canvas.draw(sheet_of_text((list(cells), columns, rows, cursor), (80, 25))) == ""

    cells[81] = (0x41, 0x1E)

    assert canvas.draw(sheet_of_text((cells, columns, rows, cursor), (80, 25))) == (
        "\x1b[2;2H\x1b[0;93;44mA\x1b[0m\x1b[5;4H\x1b[?25h"
    )


def test_a_small_terminal_shows_where_the_cursor_is() -> None:
    cells = [(0x41 + row, 7) for row in range(25) for _ in range(80)]
    sheet = sheet_of_text((cells, 80, 25, (79, 24)), (40, 10))

    assert sheet.cells[9, 39][0] == "Y"
    assert sheet.cursor == (9, 39)


def test_a_picture_shows_in_half_blocks() -> None:
    red, blue = b"\x00\x00\xff\x00", b"\xff\x00\x00\x00"
    pixels = b"".join((red if y < 50 else blue) * 100 for y in range(100))
    sheet = sheet_of_picture(100, 100, pixels, (10, 5))

    assert sheet.cells[0, 0] == (HALF, "38;2;255;0;0;48;2;255;0;0")
    assert sheet.cells[2, 9] == (HALF, "38;2;255;0;0;48;2;0;0;255")
    assert sheet.cells[4, 5] == (HALF, "38;2;0;0;255;48;2;0;0;255")
    assert len(sheet.cells) == 50


def test_a_picture_keeps_its_shape_and_may_be_tiny() -> None:
    sheet = sheet_of_picture(64, 8, bytes(4 * 64 * 8), (32, 30))
    assert {row for row, _ in sheet.cells} == {0, 1}
    assert sheet_of_picture(0, 0, b"", (80, 25)) == Sheet(80, 25)
    assert sheet_of_picture(1, 1, bytes(4), (80, 25)).cells
