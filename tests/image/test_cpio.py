"""The cpio writer: byte layout, determinism, and what other programs read back."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.errors import ImageError
from innkeeper.image.cpio import Archive

names = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=40).filter(
    lambda name: name not in (".", "..", "TRAILER!!!")
)


def members(data: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """An independent reader: name -> (mode, data, device)."""
    found: dict[str, tuple[int, bytes, tuple[int, int]]] = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * index : at + 14 + 8 * index], 16) for index in range(13)]
        name = data[at + 110 : at + 110 + fields[11]]
        assert name.endswith(b"\0")
        start = (at + 110 + fields[11] + 3) // 4 * 4
        body = data[start : start + fields[6]]
        at = (start + fields[6] + 3) // 4 * 4
        if name == b"TRAILER!!!\0":
            assert at == len(data)
            return found
        assert name[:-1].decode() not in found
        found[name[:-1].decode()] = (fields[1], body, (fields[9], fields[10]))


@given(st.dictionaries(names, st.binary(max_size=300)))
def test_files_come_back_as_they_went_in(files: dict[str, bytes]) -> None:
    archive = Archive()
    for name, data in files.items():
        archive.add_file("/" + name, data)

    assert members(archive.to_bytes()) == {name: (0o100644, data, (0, 0)) for name, data in files.items()}


def test_parents_are_made_and_precede_their_children() -> None:
    archive = Archive()
    archive.add_file("/a/b/c", b"x")
    archive.add_file("/a-b", b"y")

    assert list(members(archive.to_bytes())) == ["a", "a-b", "a/b", "a/b/c"]


def test_the_order_of_adding_does_not_show() -> None:
    forward, backward = Archive(), Archive()
    paths = ["/x", "/y/z", "/y/a"]
    for path in paths:
        forward.add_file(path, path.encode())
    for path in reversed(paths):
        backward.add_file(path, path.encode())

    assert forward.to_bytes() == backward.to_bytes()


def test_kinds_of_members() -> None:
    archive = Archive()
    archive.add_symlink("/bin/sh", "busybox")
    archive.add_character_device("/dev/console", major=5, minor=1)

    found = members(archive.to_bytes())

    assert found["bin/sh"] == (0o120777, b"busybox", (0, 0))
    assert found["dev/console"] == (0o020600, b"", (5, 1))
    assert found["dev"] == (0o040755, b"", (0, 0))


@pytest.mark.parametrize("path", ["relative", "/", "", "/a/../b", "/./a", "/a\0b", "/TRAILER!!!"])
def test_a_path_that_cannot_be_a_member_is_refused(path: str) -> None:
    with pytest.raises(ImageError):
        Archive().add_file(path, b"")


def test_a_file_cannot_be_a_directory_too() -> None:
    archive = Archive()
    archive.add_symlink("/sbin", "bin")

    with pytest.raises(ImageError, match="/sbin is not a directory"):
        archive.add_file("/sbin/init", b"")


@pytest.mark.skipif(shutil.which("cpio") is None, reason="needs cpio (Debian package cpio)")
def test_the_cpio_program_unpacks_it(tmp_path: Path) -> None:
    archive = Archive()
    archive.add_file("/bin/tool", b"#!/bin/sh\n", permissions=0o755)
    archive.add_symlink("/bin/alias", "tool")

    subprocess.run(["cpio", "-id", "--quiet"], input=archive.to_bytes(), cwd=tmp_path, check=True, timeout=30)

    assert (tmp_path / "bin/alias").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "bin/tool").stat().st_mode & 0o777 == 0o755
