"""What a VGA shows, in every mode, against pictures that the test draws as programs do."""

import random
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from tests.devices.vga_modes import DRAW, MODES, Card, Picture, rgb, shown

from innkeeper import BootError
from innkeeper._core import Frame, Memory, Screen, Vm
from innkeeper.devices import vga as card_of
from innkeeper.devices.pci import PciSite
from innkeeper.firmware import video
from innkeeper.testing import FakeIrqLine

VGABIOS = Path("/usr/share/seabios/vgabios-stdvga.bin")


def rows(screen: Screen, frame: Frame | None = None) -> list[list[int]]:
    frame = frame or Frame()
    frame.refresh(screen)
    pixels = memoryview(frame.pixels()).cast("I")
    return [pixels[y * frame.width : (y + 1) * frame.width].tolist() for y in range(frame.height)]


def picture(width: int, height: int, colours: int, seed: int = 1) -> Picture:
    noise = random.Random(seed)
    return [[noise.randrange(colours) for _ in range(width)] for _ in range(height)]


@pytest.mark.parametrize("name", MODES)
def test_a_bios_mode_shows_what_was_drawn(name: str) -> None:
    card, mode = Card(), MODES[name]
    card.set_mode(mode)
    drawn = picture(mode.width, mode.height, mode.colours)
    DRAW[name](card, drawn)

    assert rows(card.chip.screen) == shown(mode, drawn)
    assert card.chip.screen.text() is None


def test_a_picture_is_panned_dot_by_dot_and_split() -> None:
    card, mode = Card(), MODES["0d"]
    card.set_mode(mode)
    drawn = picture(mode.width, mode.height, mode.colours)
    DRAW["0d"](card, drawn)
    card.register(0x3D4, 0x0D, 41)  # a line and a byte further
    card.attribute(0x13, 3)
    card.out(0x3C0, 0x20)
    card.register(0x3D4, 7, 0x0F)  # line compare below 100h
    card.register(0x3D4, 9, 0x80)
    card.register(0x3D4, 0x18, 199)
    expected = shown(mode, drawn)
    flat = list(chain.from_iterable(drawn))

    seen = rows(card.chip.screen)

    for y in range(100):
        start = (y + 1) * 320 + 8 + 3
        assert seen[2 * y] == shown(mode, [flat[start : start + 320]])[0]
    pan = 2 * 3
    assert [row[: 640 - pan] for row in seen[200:]] == [row[pan:] for row in expected[:200]]


CASES: dict[int, tuple[Callable[[int], int], int]] = {
    8: (lambda value: rgb(value & 0xFF), 1),
    15: (lambda value: wide(value >> 10, 5) << 16 | wide(value >> 5, 5) << 8 | wide(value, 5), 2),
    16: (lambda value: wide(value >> 11, 5) << 16 | wide(value >> 5, 6) << 8 | wide(value, 5), 2),
    24: (lambda value: value & 0xFFFFFF, 3),
    32: (lambda value: value & 0xFFFFFF, 4),
}


def wide(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value << 8 - bits | value >> 2 * bits - 8


@pytest.mark.parametrize("depth", CASES)
def test_a_bochs_mode_shows_what_was_written_to_memory(depth: int) -> None:
    card, (colour, size) = Card(), CASES[depth]
    card.colours()
    card.bochs(x=160, y=100, depth=depth, enable=0x41)
    card.bochs(virtual_width=200, left=7, top=3)
    drawn = picture(200, 120, 1 << 8 * size)
    card.memory.write(0, b"".join(pixel.to_bytes(size, "little") for row in drawn for pixel in row))

    assert rows(card.chip.screen) == [[colour(pixel) for pixel in row[7:167]] for row in drawn[3:103]]


def test_a_bochs_mode_of_four_bits_lies_in_the_planes() -> None:
    card, mode = Card(), MODES["12"]
    card.set_mode(mode)
    card.bochs(x=800, y=600, depth=4, enable=1)
    drawn = picture(800, 600, 16)
    flat = list(chain.from_iterable(drawn))
    planes = bytearray(800 * 600 // 2)
    for plane in range(4):
        planes[plane::4] = bytes(
            sum((flat[x + bit] >> plane & 1) << 7 - bit for bit in range(8)) for x in range(0, len(flat), 8)
        )
    for at in range(0, 0x1_0000, 8):  # through the window's first bank, four planes a byte
        for plane in range(4):
            card.register(0x3C4, 2, 1 << plane)
            if 4 * at < len(planes):
                card.window.write(at, 8, int.from_bytes(planes[4 * at + plane : 4 * at + 32 : 4], "little"))

    assert rows(card.chip.screen) == shown(mode, drawn)


def test_eight_bits_of_a_component_show_if_the_dac_is_wide() -> None:
    card = Card()
    card.bochs(x=64, y=64, depth=8, enable=0x61)
    card.out(0x3C0, 0x20)
    card.out(0x3C8, 0)
    for component in (0x12, 0xFE, 0x81):
        card.out(0x3C9, component)

    assert rows(card.chip.screen)[0][0] == 0x12FE81


def test_a_frame_is_told_what_changed_and_nothing_twice() -> None:
    card, frame = Card(), Frame()
    card.bochs(x=256, y=64, depth=32, enable=0x41)
    card.out(0x3C0, 0x20)
    assert frame.refresh(card.chip.screen) == [(0, 0, 256, 64)]
    assert frame.refresh(card.chip.screen) == []

    card.memory.write(4 * (256 * 20 + 70), b"\xff\xff\xff\xff")

    assert frame.refresh(card.chip.screen) == [(64, 16, 64, 16)]
    assert frame.refresh(card.chip.screen) == []


# ---- text -----------------------------------------------------------------------------------------


def glyph(character: int) -> bytes:
    """A font of our own: every glyph another, none symmetrical."""
    return bytes((character * 37 + line * 11 ^ line) & 0xFF for line in range(16))


FONT = b"".join(map(glyph, range(256)))


def text_dots(cells: list[tuple[int, int]], columns: int, colours: list[int]) -> list[list[int]]:
    """Nine dots and sixteen lines a character, as the reference has them."""
    lines = []
    for row in range(len(cells) // columns):
        for line in range(16):
            dots = []
            for character, attribute in cells[row * columns : (row + 1) * columns]:
                bits = glyph(character)[line]
                ninth = bits & 1 if 0xC0 <= character <= 0xDF else 0
                pair = colours[attribute >> 4 & 7], colours[attribute & 15]
                dots += [pair[bits >> 7 - dot & 1] for dot in range(8)] + [pair[ninth]]
            lines.append(dots)
    return lines


@pytest.fixture
def text_card() -> Card:
    card = Card()
    video.set_text_mode(card.ports, card.window, FONT)
    card.register(0x3D4, 0x0A, 0x2D)  # no cursor
    return card


VGA_COLOURS = [
    0x000000, 0x0000AA, 0x00AA00, 0x00AAAA, 0xAA0000, 0xAA00AA, 0xAA5500, 0xAAAAAA,
    0x555555, 0x5555FF, 0x55FF55, 0x55FFFF, 0xFF5555, 0xFF55FF, 0xFFFF55, 0xFFFFFF,
]  # fmt: skip


def test_text_shows_in_the_sixteen_colours(text_card: Card) -> None:
    noise = random.Random(2)
    cells = [(noise.randrange(256), noise.randrange(128)) for _ in range(80 * 25)]
    for at, (character, attribute) in enumerate(cells):
        text_card.window.write(0x1_8000 + 2 * at, 2, attribute << 8 | character)

    assert rows(text_card.chip.screen) == text_dots(cells, 80, VGA_COLOURS)
    assert text_card.chip.screen.text() == (cells, 80, 25, None)


def test_the_cursor_is_where_and_as_tall_as_it_is_set(text_card: Card) -> None:
    for index, value in ((0x0A, 13), (0x0B, 14), (0x0E, 0), (0x0F, 81)):
        text_card.register(0x3D4, index, value)

    seen = rows(text_card.chip.screen)

    text = text_card.chip.screen.text()
    assert text is not None
    assert text[3] == (1, 1)
    assert [y for y, row in enumerate(seen) if row[9:18] == [VGA_COLOURS[7]] * 9] == [16 + 13, 16 + 14]


def test_blinking_may_be_given_up_for_bright_backgrounds(text_card: Card) -> None:
    text_card.window.write(0x1_8000, 2, 0xF000)
    assert rows(text_card.chip.screen)[0][0] == VGA_COLOURS[7]

    text_card.attribute(0x10, 0x04)
    text_card.out(0x3C0, 0x20)

    assert rows(text_card.chip.screen)[0][0] == VGA_COLOURS[15]


def test_forty_columns_are_twice_as_wide(text_card: Card) -> None:
    text_card.register(0x3C4, 1, 8)
    text_card.register(0x3D4, 0x11, 0)
    text_card.register(0x3D4, 1, 39)
    text_card.window.write(0x1_8000, 2, 0x0F41)

    seen = rows(text_card.chip.screen)

    expected = text_dots([(0x41, 0x0F)], 1, VGA_COLOURS)
    assert [row[:18] for row in seen[:16]] == [[dot for dot in row for _ in "ab"] for row in expected]


def test_the_font_is_found_in_debians_video_bios() -> None:
    if not VGABIOS.exists():
        pytest.skip("no Debian package seabios")
    font = video.font_of(VGABIOS.read_bytes())

    assert font[16 * ord("A") : 16 * ord("B")].hex() == "000010386cc6c6fec6c6c6c600000000"


def test_a_bios_without_a_font_is_refused() -> None:
    with pytest.raises(BootError, match="no 8x16 font"):
        video.font_of(bytes(4096))


# ---- the card -------------------------------------------------------------------------------------


def test_the_card_is_in_its_places_until_it_is_pulled() -> None:
    memory: Any = Memory([(0, 4096)])
    vm: Any = Vm("interp", memory, 1)
    card = card_of.Vga(memory, b"\x55\xaa" + bytes(5000))
    site = PciSite(slot=2, memory=memory, buses=vm, intx=FakeIrqLine())
    for _reset in range(2):
        function = card.function(site)
        function.plug(vm)
        for register, value in ((0x10, 0xE000_0000), (0x18, 0xF000_0000), (0x30, 0xF100_0001), (0x04, 3)):
            function.write_config(register, 4, value)
        memory.write(0xE000_0000, b"seen")
        assert card.memory.read(0, 4) == b"seen"
        assert memory.read(0xF100_0000, 2) == b"\x55\xaa"
        with pytest.raises(ValueError, match="claimed"):
            vm.map_ports(0x3D4, 2, card.chip.ports)
        assert function.read_config(0, 4) == 0x1111_1234

        function.unplug()

        assert memory.ranges == [(0, 4096)]
        vm.map_ports(0x3D4, 2, card.chip.ports)
        vm.unmap_ports(0x3D4)
