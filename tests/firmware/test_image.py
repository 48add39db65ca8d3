"""What a kernel file is taken for, and what a wrong one is told."""

import gzip
import os
from pathlib import Path

import pytest

from innkeeper.errors import BootError
from innkeeper.firmware import open_kernel

from .conftest import MIB, bzimage, elf64, multiboot_header, pvh_note


@pytest.mark.parametrize(
    ("data", "protocol"),
    [
        (bzimage(), "linux"),
        (elf64([(MIB, b"code", 4)], note=pvh_note(MIB)), "pvh"),
        (elf64([(MIB, multiboot_header(), 12)]), "multiboot"),
        (multiboot_header(1 << 16, (MIB, MIB, 0, 0, MIB)), "multiboot"),
    ],
)
def test_a_kernel_is_known_by_its_content(kernel_file: Path, data: bytes, protocol: str) -> None:
    kernel_file.write_bytes(data)

    assert open_kernel(kernel_file).protocol == protocol


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"hello", "unknown format (it begins with 68 65 6c 6c)"),
        (gzip.compress(b"x", mtime=0), "is packed with gzip"),
        (elf64([(MIB, b"code", 4)]), "neither a PVH note nor a multiboot header"),
        (b"MZ" + bytes(1000), "unknown format"),
    ],
)
def test_another_file_is_refused_in_one_sentence(kernel_file: Path, data: bytes, words: str) -> None:
    kernel_file.write_bytes(data)

    with pytest.raises(BootError) as caught:
        open_kernel(kernel_file)

    assert words in str(caught.value)
    assert str(kernel_file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BootError, match=r"cannot read kernel .*/none: no such file or directory"):
        open_kernel(tmp_path / "none")


def test_a_directory_is_no_kernel(tmp_path: Path) -> None:
    with pytest.raises(BootError, match="is a directory"):
        open_kernel(tmp_path)


def test_an_endless_device_is_no_kernel() -> None:
    with pytest.raises(BootError, match="/dev/zero: it is a device"):
        open_kernel(Path("/dev/zero"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_says_why(kernel_file: Path) -> None:
    kernel_file.write_bytes(bzimage())
    kernel_file.chmod(0)

    with pytest.raises(BootError, match="permission denied"):
        open_kernel(kernel_file)
