"""Every encoding in every pixel format shows the picture that is on the screen, in updates of all kinds."""

import random
import struct

import pytest

from tests.display.rfb.client import ENCODINGS, TIGHT, Client, Format
from tests.display.rfb.conftest import Bench, MakeBench

FORMATS = {
    "32": Format(),
    "32 big": Format(big_endian=True),
    "32 bgr": Format(shifts=(0, 8, 16)),
    "32 high": Format(shifts=(24, 16, 8)),
    "32 high big": Format(shifts=(24, 16, 8), big_endian=True),
    "30": Format(depth=30, maxima=(1023, 1023, 1023), shifts=(20, 10, 0)),
    "16": Format(bits=16, depth=16, maxima=(31, 63, 31), shifts=(11, 5, 0)),
    "16 big": Format(bits=16, depth=15, maxima=(31, 31, 31), shifts=(10, 5, 0), big_endian=True),
    "8": Format(bits=8, depth=8, maxima=(7, 7, 3), shifts=(0, 3, 6)),
}
WIDTH, HEIGHT = 270, 70  # no multiple of any tile


def picture(kind: str, seed: int = 1) -> list[int]:
    """Pixels that make the encoders take each of their ways."""
    dice = random.Random(seed)
    area = WIDTH * HEIGHT
    if kind == "noise":
        return [dice.getrandbits(24) for _ in range(area)]
    if kind == "one":
        return [0x123456] * area
    if kind == "two":
        return [0xFFFFFF if dice.random() < 0.1 else 0 for _ in range(area)]
    colours = [dice.getrandbits(24) for _ in range({"few": 5, "many": 100, "runs": 4000}[kind])]
    out: list[int] = []
    while len(out) < area:
        out += [dice.choice(colours)] * dice.choice((1, 2, 3, 20, 300 if kind == "runs" else 40))
    return out[:area]


def draw(bench: Bench, pixels: list[int]) -> None:
    bench.screen.draw(0, 0, WIDTH, HEIGHT, struct.pack(f"<{len(pixels)}I", *pixels))


@pytest.fixture
def big(make_bench: MakeBench) -> Bench:
    bench = make_bench()
    bench.screen.resize(WIDTH, HEIGHT)
    return bench


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("form", FORMATS)
def test_a_viewer_sees_the_picture(big: Bench, encoding: str, form: str) -> None:
    kinds = ("one", "two", "few", "many", "runs", "noise")
    draw(big, picture("one"))
    with big.connect() as client:
        client.shake_hands()
        client.set_format(FORMATS[form])
        client.set_encodings(ENCODINGS[encoding])
        for kind in kinds:
            pixels = picture(kind)
            draw(big, pixels)
            client.update()
            assert client.pixels == [FORMATS[form].seen(pixel) for pixel in pixels], kind


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_small_changes_arrive_by_themselves(big: Bench, encoding: str) -> None:
    pixels = picture("few")
    draw(big, pixels)
    dice = random.Random(2)
    with big.connect() as client:
        client.shake_hands()
        client.set_encodings(ENCODINGS[encoding])
        client.update()
        for _ in range(20):
            x, y = dice.randrange(WIDTH - 9), dice.randrange(HEIGHT - 7)
            patch = [dice.getrandbits(24) for _ in range(63)]
            client.request(incremental=True)
            big.screen.draw(x, y, 9, 7, struct.pack("<63I", *patch))
            for row in range(7):
                pixels[(y + row) * WIDTH + x : (y + row) * WIDTH + x + 9] = patch[row * 9 : row * 9 + 9]
            client.hear_update()
            assert client.pixels == pixels


def test_only_what_changed_is_sent(big: Bench) -> None:
    with big.connect() as client:
        client.shake_hands()
        client.update()
        before = client.bytes_received
        client.request(incremental=True)
        big.screen.draw(40, 40, 1, 1, b"\xff\xff\xff\0")
        client.hear_update()

        assert client.bytes_received - before == 4 + 12 + 16 * 16 * 4


def test_an_update_of_a_part_leaves_the_rest(big: Bench) -> None:
    draw(big, picture("noise"))
    with big.connect() as client:
        client.shake_hands()
        client.request((100, 40, 10, 10))
        client.hear_update()

        assert client.pixels[45 * WIDTH + 105] == picture("noise")[45 * WIDTH + 105]
        assert client.pixels[0] == -1
        client.request((0, 0, 10, 10), incremental=True)  # it has never seen this part
        client.hear_update()
        assert client.pixels[0] == picture("noise")[0]


def test_photographs_become_jpegs_only_where_the_viewer_allows_loss(big: Bench) -> None:
    draw(big, picture("noise"))
    with big.connect() as client:
        client.shake_hands()
        client.set_encodings(TIGHT)
        client.update()
        assert client.jpegs == 0
        exact = client.bytes_received

        client.set_encodings(TIGHT, -32 + 5)
        client.update()
        assert client.jpegs > 0
        assert client.bytes_received - exact < exact
        low = client.bytes_received
        client.set_encodings(TIGHT, -32 + 9)
        client.update()
        assert client.bytes_received - low > low - exact


@pytest.mark.parametrize("form", [Format(true_colour=False), Format(bits=24), Format(shifts=(30, 0, 8))])
def test_a_pixel_format_that_cannot_be_ends_the_conversation(viewer: Client, form: Format) -> None:
    viewer.set_format(form)
    viewer.request()

    with pytest.raises((EOFError, ConnectionResetError)):
        viewer.hear()


def test_unknown_encodings_leave_raw(viewer: Client) -> None:
    viewer.set_encodings(12345, -99999)
    viewer.update()

    assert viewer.pixels == [0] * (96 * 80)
