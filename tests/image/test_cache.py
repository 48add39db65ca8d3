"""The cache: what has its name is whole, whatever was killed before."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from innkeeper.errors import ImageError
from innkeeper.image.cache import build_directory, cache_directory, write_file


def test_the_cache_is_where_the_desktop_specification_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_directory() == tmp_path / "cache/innkeeper"

    monkeypatch.setenv("XDG_CACHE_HOME", "relative/ignored")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache/innkeeper"


def test_a_cache_that_cannot_be_made_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    with pytest.raises(ImageError, match="cannot make the cache directory"):
        cache_directory()


def test_a_directory_is_built_once(tmp_path: Path) -> None:
    calls = []

    def fill(directory: Path) -> None:
        calls.append(directory)
        (directory / "content").write_text("x")

    build_directory(tmp_path / "item", fill)
    build_directory(tmp_path / "item", fill)

    assert len(calls) == 1
    assert (tmp_path / "item/content").read_text() == "x"


def test_a_failed_build_leaves_nothing_with_the_name(tmp_path: Path) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").write_text("")
        raise ImageError("no network")

    with pytest.raises(ImageError, match="no network"):
        build_directory(tmp_path / "item", fail)

    assert [path.name for path in tmp_path.iterdir()] == [".item.lock"]


def build_for_ever(final: Path) -> None:
    def fill(directory: Path) -> None:
        (directory / "half").write_text("")
        time.sleep(60)

    build_directory(final, fill)


def test_a_killed_build_is_swept_up_by_the_next(tmp_path: Path) -> None:
    final = tmp_path / "item"
    builder = multiprocessing.get_context("fork").Process(target=build_for_ever, args=(final,))
    builder.start()
    deadline = time.monotonic() + 10
    while not list(tmp_path.glob(".item.unfinished-*/half")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert builder.pid is not None
    os.kill(builder.pid, signal.SIGKILL)
    builder.join()
    assert not final.exists()

    build_directory(final, lambda directory: (directory / "whole").touch())

    assert sorted(path.name for path in tmp_path.iterdir()) == [".item.lock", "item"]
    assert [path.name for path in final.iterdir()] == ["whole"]


def test_a_written_file_replaces_the_old_one_at_once(tmp_path: Path) -> None:
    final = tmp_path / "image"
    final.write_bytes(b"old")

    write_file(final, b"new")

    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("image", b"new")]
    assert final.stat().st_mode & 0o777 == 0o644


def test_an_unwritable_place_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot write .*: No such file or directory"):
        write_file(tmp_path / "absent/image", b"")
