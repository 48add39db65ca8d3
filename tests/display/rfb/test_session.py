"""What viewers say and hear once they are in: keys, pointers, sizes, shapes, fences, clipboards."""

import struct
import time
import zlib

import pytest

from innkeeper.display import Button
from innkeeper.display.keys import KEYS
from tests.display.rfb.client import RAW, TIGHT, Client, Format
from tests.display.rfb.conftest import Bench, wait_for

ENDS = (EOFError, ConnectionResetError, BrokenPipeError)
EXTENDED_CLIPBOARD = -0x3F5E1A32
A, SHIFT, CAPS = KEYS["A"], KEYS["LEFTSHIFT"], KEYS["CAPSLOCK"]


def settle(viewer: Client) -> None:
    """Everything said so far has been obeyed: a fence came back."""
    viewer.send("B3xIB4s", 248, 1 << 31, 4, b"done")
    while (0, b"done") not in viewer.fences:
        viewer.hear()
    viewer.fences.clear()


# ---- keys and pointers --------------------------------------------------------------------------


def test_letters_become_the_keys_that_make_them(bench: Bench, viewer: Client) -> None:
    """A program that types sends `A` with no Shift, as vncdotool does."""
    for down in (True, False):
        viewer.key(ord("A"), down=down)
    settle(viewer)

    assert bench.sink.keys == [(SHIFT, True), (A, True), (A, False), (SHIFT, False)]


def test_shift_that_the_viewer_holds_is_not_added_again(bench: Bench, viewer: Client) -> None:
    for keysym, down in ((0xFFE1, True), (ord("A"), True), (ord("A"), False), (0xFFE1, False)):
        viewer.key(keysym, down=down)
    settle(viewer)

    assert bench.sink.keys == [(SHIFT, True), (A, True), (A, False), (SHIFT, False)]


def test_shift_is_taken_away_for_what_another_layout_has_on_it(bench: Bench, viewer: Client) -> None:
    """On a German keyboard `/` is Shift and 7; on the guest's it has a key of its own."""
    for keysym, down in ((0xFFE1, True), (ord("/"), True), (ord("/"), False), (0xFFE1, False)):
        viewer.key(keysym, down=down)
    settle(viewer)

    slash = KEYS["SLASH"]
    assert bench.sink.keys == [
        (SHIFT, True), (SHIFT, False), (slash, True), (slash, False), (SHIFT, True), (SHIFT, False),
    ]  # fmt: skip


def test_caps_lock_makes_capitals_without_shift(bench: Bench, viewer: Client) -> None:
    for keysym, down in ((0xFFE5, True), (0xFFE5, False), (ord("A"), True), (ord("A"), False)):
        viewer.key(keysym, down=down)
    settle(viewer)

    assert bench.sink.keys == [(CAPS, True), (CAPS, False), (A, True), (A, False)]


def test_scan_codes_name_places_whatever_the_letter_is(bench: Bench, viewer: Client) -> None:
    viewer.send("BBHII", 255, 0, 1, ord("q"), 0x1E)  # the key that is A in the United States
    viewer.send("BBHII", 255, 0, 0, ord("q"), 0x1E)
    viewer.send("BBHII", 255, 0, 1, 0, 0x80 | 0x4B)
    settle(viewer)

    assert bench.sink.keys == [(A, True), (A, False), (KEYS["LEFT"], True)]


def test_a_key_held_repeats_and_one_without_a_meaning_is_dropped(bench: Bench, viewer: Client) -> None:
    viewer.key(ord("a"), down=True)
    viewer.key(ord("a"), down=True)
    viewer.key(0xFFFFFFFF, down=True)
    viewer.key(ord("b"), down=False)
    settle(viewer)

    assert bench.sink.keys == [(A, True), (A, True)]


def test_a_viewer_that_leaves_lets_everything_go(bench: Bench, viewer: Client) -> None:
    viewer.key(0xFFE3, down=True)
    viewer.key(ord("A"), down=True)
    viewer.pointer(5, 6, 1)
    settle(viewer)
    bench.sink.keys.clear()
    viewer.socket.close()

    wait_for(lambda: len(bench.sink.keys) == 3 and len(bench.sink.pointers) == 2)
    assert sorted(bench.sink.keys) == sorted([(KEYS["LEFTCTRL"], False), (A, False), (SHIFT, False)])
    assert bench.sink.pointers[-1] == (5, 6, 96, 80, 0)


def test_pointers_stay_on_the_picture(bench: Bench, viewer: Client) -> None:
    viewer.pointer(10, 20, Button.LEFT | Button.WHEEL_UP)
    viewer.pointer(65535, 65535, 0)
    settle(viewer)

    assert bench.sink.pointers == [(10, 20, 96, 80, 9), (95, 79, 96, 80, 0)]


def test_a_button_is_let_go_on_a_picture_that_has_become_smaller(bench: Bench, viewer: Client) -> None:
    viewer.set_encodings(RAW, -223)
    viewer.pointer(90, 70, 1)
    bench.screen.resize(10, 10)
    viewer.update()
    viewer.socket.close()

    wait_for(lambda: len(bench.sink.pointers) == 2)
    assert bench.sink.pointers[-1] == (9, 9, 10, 10, 0)


# ---- sizes, shapes and names --------------------------------------------------------------------


def test_a_new_size_is_told_and_followed(bench: Bench, viewer: Client) -> None:
    viewer.set_encodings(RAW, -223)
    viewer.update()
    viewer.request(incremental=True)
    bench.screen.resize(50, 30)
    viewer.hear_update()
    assert (viewer.width, viewer.height) == (50, 30)
    viewer.update(incremental=True)

    assert viewer.pixels == [0] * 1500


def test_a_viewer_that_cannot_follow_sees_what_fits_and_black(bench: Bench, viewer: Client) -> None:
    bench.screen.resize(40, 200)
    bench.screen.draw(0, 0, 40, 200, b"\xff\xff\xff\x00" * 8000)
    viewer.update()

    assert viewer.pixels == ([0xFFFFFF] * 40 + [0] * 56) * 80


def test_the_extended_size_is_told_and_can_be_asked_for(bench: Bench, viewer: Client) -> None:
    viewer.set_encodings(RAW, -308)
    viewer.update()
    assert [shown[:5] for shown in viewer.pseudo] == [(-308, 0, 0, 96, 80)]

    viewer.send("BxHHBx", 251, 640, 480, 1)
    viewer.send("I4HI", 0, 0, 0, 640, 480, 0)
    viewer.update(incremental=True)
    assert viewer.pseudo[-1][:3] == (-308, 1, 4), "forwarded to the guest"
    assert bench.screen.preferred == (640, 480)

    viewer.send("BxHHBx", 251, 0, 480, 0)
    viewer.update(incremental=True)
    assert viewer.pseudo[-1][:3] == (-308, 1, 3)
    assert bench.screen.preferred == (640, 480)


def test_the_pointers_shape_is_sent_when_it_changes(bench: Bench, viewer: Client) -> None:
    shape = struct.pack("<6I", 0xFF112233, 0x00FFFFFF, 0xFF445566, 0, 0x80808080, 0xFFFFFFFF)
    bench.screen.set_cursor(3, 2, 1, 0, shape)
    viewer.set_encodings(RAW, -239)
    viewer.update()
    viewer.update()

    (only,) = viewer.pseudo
    assert only[:5] == (-239, 1, 0, 3, 2)
    assert only[5][-2:] == bytes([0b10100000, 0b01100000])
    assert only[5][:4] == b"\x33\x22\x11\x00"
    bench.screen.set_cursor(0, 0, 0, 0, b"")
    viewer.update(incremental=True)
    assert viewer.pseudo[-1][:5] == (-239, 0, 0, 0, 0)


def test_a_shape_with_alpha_keeps_it(bench: Bench, viewer: Client) -> None:
    bench.screen.set_cursor(1, 1, 0, 0, struct.pack("<I", 0x80FF8000))
    viewer.set_encodings(RAW, -239, -314)
    viewer.update()

    assert viewer.pseudo[0][0] == -314
    assert viewer.pseudo[0][5] == bytes(4) + bytes([128, 64, 0, 128])


def test_a_moved_pointers_new_shape_wakes_an_idle_viewer(bench: Bench, viewer: Client) -> None:
    viewer.set_encodings(RAW, -239)
    viewer.update()
    viewer.request(incremental=True)
    bench.screen.set_cursor(1, 1, 0, 0, b"\xff\xff\xff\xff")
    viewer.hear_update()

    assert viewer.pseudo


def test_name_and_extended_keys_are_announced(viewer: Client) -> None:
    viewer.set_encodings(RAW, -307, -258)
    viewer.update()

    assert sorted(shown[0] for shown in viewer.pseudo) == [-307, -258]
    assert (b"bench") in [shown[5] for shown in viewer.pseudo]


# ---- fences and continuous updates --------------------------------------------------------------


def test_a_fence_comes_back_with_what_it_carried(viewer: Client) -> None:
    viewer.send("B3xIB3s", 248, 1 << 31 | 0b11111, 3, b"abc")
    viewer.hear()

    assert viewer.fences == [(0b111, b"abc")]


def test_updates_come_by_themselves_until_they_are_no_longer_wanted(bench: Bench, viewer: Client) -> None:
    viewer.set_encodings(RAW, -313, -312)
    viewer.update()
    assert viewer.ended_continuous == 1, "which says that the server can"
    viewer.send("BB4H", 150, 1, 0, 0, 96, 80)
    for colour in range(5):
        bench.screen.draw(0, 0, 1, 1, bytes([colour + 1, 0, 0, 0]))
        while viewer.pixels[0] != colour + 1:
            viewer.hear()
    viewer.send("BB4H", 150, 0, 0, 0, 0, 0)
    while viewer.ended_continuous < 2:
        viewer.hear()


def test_a_viewer_that_answers_no_fences_gets_only_a_few_updates(bench: Bench, viewer: Client) -> None:
    viewer.set_encodings(RAW, -313, -312)
    viewer.update()
    viewer.answers_fences = False
    viewer.send("BB4H", 150, 1, 0, 0, 96, 80)
    for colour in range(1, 20):
        bench.screen.draw(0, 0, 1, 1, bytes([colour, 0, 0, 0]))
        time.sleep(0.03)
    viewer.socket.settimeout(0.2)

    assert 1 <= viewer.hear_to_the_end() <= 4


def test_pixels_never_come_in_a_format_that_a_fence_has_ended(bench: Bench, viewer: Client) -> None:
    small = Format(bits=8, depth=8, maxima=(7, 7, 3), shifts=(0, 3, 6))
    viewer.set_encodings(TIGHT, -313, -312)
    viewer.send("BB4H", 150, 1, 0, 0, 96, 80)
    for turn in range(30):
        bench.screen.draw(0, 0, 96, 80, struct.pack("<I", turn * 1000003 & 0xFFFFFF) * 96 * 80)
        form = (Format(), small)[turn % 2]
        old = viewer.format
        viewer.send("B3xIB", 248, 1 << 31 | 1 << 2, 0)
        viewer.set_format(form)
        viewer.format = old  # until the fence says that the next update is in the new one
        while (1 << 2, b"") not in viewer.fences:
            viewer.hear()
        viewer.fences.clear()
        viewer.format = form
    last = Format.seen(viewer.format, 29 * 1000003 & 0xFFFFFF)
    viewer.update()
    while viewer.pixels[0] != last:
        viewer.hear()


# ---- clipboards ---------------------------------------------------------------------------------


def test_plain_text_goes_both_ways(bench: Bench, viewer: Client) -> None:
    viewer.send("B3xi5s", 6, 5, b"caf\xe9!")
    settle(viewer)
    bench.server.offer_text("für dich")
    while not viewer.texts:
        viewer.hear()

    assert bench.texts == ["café!"]
    assert viewer.texts[0][4:] == "für dich".encode("latin-1")


def test_the_extended_clipboard_takes_any_language(bench: Bench, viewer: Client) -> None:
    viewer.set_encodings(RAW, EXTENDED_CLIPBOARD)
    settle(viewer)
    assert viewer.texts[0][4] & 1 << 0, "capabilities"
    data = "日本\r\n".encode() + b"\0"
    body = (1 << 28 | 1).to_bytes(4) + zlib.compress(len(data).to_bytes(4) + data)
    viewer.send(f"B3xi{len(body)}s", 6, -len(body), body)
    settle(viewer)
    assert bench.texts == ["日本\n"]

    bench.server.offer_text("a\nb")
    while len(viewer.texts) < 2:
        viewer.hear()
    assert viewer.texts[1][4:] == (1 << 27 | 1).to_bytes(4), "notify"
    viewer.send("B3xi4s", 6, -4, (1 << 25 | 1).to_bytes(4))
    while len(viewer.texts) < 3:
        viewer.hear()
    assert zlib.decompress(viewer.texts[2][8:])[4:] == b"a\r\nb\0"


def test_what_a_clipboard_can_do_is_not_taken_for_what_it_does(viewer: Client) -> None:
    """noVNC answers with its capabilities, in which the bit of every action is set."""
    viewer.set_encodings(RAW, EXTENDED_CLIPBOARD)
    capabilities = struct.pack(">2I", 0b11111 << 24 | 1, 0)
    viewer.send(f"B3xi{len(capabilities)}s", 6, -len(capabilities), capabilities)
    settle(viewer)


def test_a_clipboard_that_unpacks_without_end_is_not_kept(bench: Bench, viewer: Client) -> None:
    viewer.set_encodings(RAW, EXTENDED_CLIPBOARD)
    bomb = (1 << 28 | 1).to_bytes(4) + zlib.compress((1 << 26).to_bytes(4) + bytes(1 << 26))
    viewer.send(f"B3xi{len(bomb)}s", 6, -len(bomb), bomb)
    viewer.send("B3xi", 6, 3 << 20)
    viewer.socket.sendall(bytes(3 << 20))
    settle(viewer)

    assert bench.texts == []


@pytest.mark.parametrize(
    "said",
    [
        b"\x01", b"\x07", b"\xff\x07", struct.pack(">BxH", 2, 5000), struct.pack(">B3xIB", 248, 0, 65),
        struct.pack(">B3xi", 6, -3) + b"abc", struct.pack(">B3xiI", 6, -10, 1 << 28 | 1) + b"nozlib",
    ],
)  # fmt: skip
def test_what_nobody_may_say_ends_the_conversation_and_no_other(bench: Bench, viewer: Client, said: bytes) -> None:
    with bench.connect() as other:
        other.shake_hands()
        viewer.socket.sendall(said)
        with pytest.raises(ENDS):
            viewer.hear_to_the_end()
        other.update()
