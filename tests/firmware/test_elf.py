"""ELF files that are not what they say."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.errors import BootError
from innkeeper.firmware.elf import ElfImage

from .conftest import MIB, elf64, pvh_note

GOOD = elf64([(MIB, b"code", 0x1000)], note=pvh_note(MIB))


def test_segments_and_notes_are_found() -> None:
    image = ElfImage(Path("k"), GOOD)

    assert (image.span().start, image.span().end) == (MIB, MIB + 0x1000)
    assert [(name, kind) for name, kind, _ in image.notes()] == [(b"Xen", 6), (b"Xen", 18)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x7fELF", "not a little-endian ELF file"),
        (GOOD[:5] + b"\x02" + GOOD[6:], "not a little-endian ELF file"),
        (GOOD[:40], "truncated: it ends after 40 bytes"),
        (GOOD[:100], "truncated"),
        (GOOD[:-1], "truncated"),
        (elf64([(MIB, b"code", 4)], machine=183), "for ELF machine 183"),
    ],
)
def test_a_broken_file_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(BootError, match=words):
        ElfImage(Path("k"), data)


def test_a_file_with_nothing_to_load_is_refused() -> None:
    with pytest.raises(BootError, match="nothing to load"):
        ElfImage(Path("k"), elf64([], note=pvh_note(MIB))).span()


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_any_wrong_byte_gives_an_answer_or_a_boot_error(at: int, value: int) -> None:
    data = bytearray(GOOD)
    data[at] = value
    with suppress(BootError):
        image = ElfImage(Path("k"), bytes(data))
        list(image.notes())
        image.span()
