"""What a terminal sends, as keys."""

import pytest

from innkeeper.display.keys import KEYS, NAMES, press
from innkeeper.display.terminal.keys import KeyReader


def named(strokes: list[tuple[int, bool]]) -> str:
    """Keys that go down together, joined; one after the other, with blanks between."""
    words, held = [], []
    for code, down in strokes:
        if down:
            held.append(NAMES[code])
        elif held:
            words.append("-".join(held))
            held = []
    return " ".join(words)


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("a", "A"),
        ("A", "LEFTSHIFT-A"),
        ("!", "LEFTSHIFT-1"),
        ("\r", "ENTER"),
        ("\t", "TAB"),
        ("\x7f", "BACKSPACE"),
        ("\x03", "LEFTCTRL-C"),
        ("\x1c", "LEFTCTRL-BACKSLASH"),
        ("\x1bx", "LEFTALT-X"),
        ("\x1bX", "LEFTALT-LEFTSHIFT-X"),
        ("\x1b[A", "UP"),
        ("\x1bOB", "DOWN"),
        ("\x1bOP", "F1"),
        ("\x1b[11~\x1b[15~\x1b[24~", "F1 F5 F12"),
        ("\x1b[[C", "F3"),
        ("\x1b[3~\x1b[5~", "DELETE PAGEUP"),
        ("\x1b[1;5C", "LEFTCTRL-RIGHT"),
        ("\x1b[1;7Q", "LEFTCTRL-LEFTALT-F2"),
        ("\x1b[Z", "LEFTSHIFT-TAB"),
        ("\x1b[25~", "LEFTSHIFT-F1"),
        ("ä€", ""),
        ("\x1b[200~", ""),
        ("\x1b[" + "1" * 20 + "~", ""),
    ],
)
def test_what_is_sent_becomes_keys(sent: str, keys: str) -> None:
    whole = KeyReader().feed(sent.encode())
    assert (named(whole[0]), whole[1]) == (keys, False)

    reader, strokes = KeyReader(), []
    for byte in sent.encode():  # however it comes
        strokes += reader.feed(bytes([byte]))[0]
    assert strokes == whole[0]


def test_an_escape_that_nothing_follows_is_the_key() -> None:
    reader = KeyReader()
    assert reader.feed(b"\x1b") == ([], False)
    assert reader.waits
    assert reader.flush() == press([KEYS["ESC"]])
    assert not reader.waits

    reader.feed(b"\x1b[")
    assert named(reader.flush()) == "LEFTALT-LEFTBRACE"


def test_leaving_ends_what_counts() -> None:
    strokes, leaves = KeyReader().feed(b"q\x1dz")
    assert (named(strokes), leaves) == ("Q", True)
