"""What is repeated of a console to those who come later."""

import pytest

from innkeeper.console.scrollback import Scrollback


def said(*pieces: bytes, limit: int = 1 << 16) -> bytes:
    scrollback = Scrollback(limit)
    for piece in pieces:
        scrollback.add(piece)
    return scrollback.content()


@pytest.mark.parametrize(
    "question",
    [b"\x1b[6n", b"\x1b[?6n", b"\x1b[c", b"\x1b[>0c", b"\x1b[18t", b"\x1b[?2026$p", b"\x1bZ", b"\x05", b"\x1b]11;?\x07",
     b"\x1b]10;?\x1b\\", b"\x1bP$qm\x1b\\", b"\x1bP+q544e\x1b\\", b"\x1b[?u"],
)  # fmt: skip
def test_terminals_are_not_asked_again(question: bytes) -> None:
    assert said(b"before" + question[:2], question[2:] + b"after") == b"beforeafter"


@pytest.mark.parametrize("shown", [b"\x1b[1;31mred\x1b[0m", b"\x1b[2J\x1b[H", b"\x1b]0;a title\x07", b"what?\r\n"])
def test_what_is_shown_stays(shown: bytes) -> None:
    assert said(shown) == shown


def test_only_the_last_is_kept_from_a_line_on() -> None:
    lines = [b"%06d\r\n" % number for number in range(100_000)]
    kept = said(*lines)
    assert kept == b"".join(lines[-len(kept) // 8 :])
    assert (1 << 16) - 8 <= len(kept) <= 1 << 16


def test_a_line_without_an_end_is_cut() -> None:
    assert said(b"x" * 100_000) == b"x" * (1 << 16)
