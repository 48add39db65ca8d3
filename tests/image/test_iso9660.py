"""Discs: read, as xorriso makes them and as we do, and written so that others read them."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.errors import ConfigError, HostError, InnkeeperError
from innkeeper.image.iso9660 import SECTOR, Disc, disc_of, write_disc

needs_xorriso = pytest.mark.skipif(shutil.which("xorriso") is None, reason="no xorriso")
FILES = {"user-data": b"#cloud-config\n", "meta-data": b"x" * 5000, "network-config": b""}


def made_by_xorriso(folder: Path, *options: str) -> Path:
    tree = folder / "tree"
    (tree / "install.amd").mkdir(parents=True)
    (tree / "install.amd" / "a long name, really.gz").write_bytes(bytes(range(256)) * 3000)
    (tree / ".treeinfo").write_text("[general]\n")
    for number in range(200):  # a folder of several sectors
        (tree / "install.amd" / f"file-{number:03d}").write_text(str(number))
    disc = folder / "disc.iso"
    command = ["xorriso", "-as", "mkisofs", "-quiet", *options, "-V", "LABEL", "-o", str(disc), str(tree)]
    subprocess.run(command, check=True, capture_output=True)
    return disc


@needs_xorriso
@pytest.mark.parametrize("options", [["-r", "-J"], ["-r"], ["-J"]])
def test_a_file_is_found_by_its_path(tmp_path: Path, options: list[str]) -> None:
    with Disc(made_by_xorriso(tmp_path, *options)) as disc:
        assert disc.label == "LABEL"
        assert disc.text("install.amd/file-199") == "199"
        assert disc.text("/INSTALL.AMD/FILE-007") == "7"
        assert disc.text(".treeinfo") == "[general]\n"
        assert not disc.has("install.amd")
        assert not disc.has("install.amd/file-007/x")
        assert not disc.has("nothing")
        disc.extract("install.amd/a long name, really.gz", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == bytes(range(256)) * 3000
        with pytest.raises(ConfigError, match="there is no nothing on"):
            disc.extract("nothing", tmp_path / "other")
        with pytest.raises(HostError, match="File exists"):
            disc.extract(".treeinfo", tmp_path / "out")


@needs_xorriso
def test_a_disc_of_ours_is_one_to_others(tmp_path: Path) -> None:
    seed = tmp_path / "seed.iso"
    write_disc(seed, "cidata", FILES)
    said = subprocess.run(["xorriso", "-indev", seed, "-find"], check=True, capture_output=True, text=True)
    assert "'cidata'" in said.stderr
    assert [name in said.stdout for name in FILES] == [True, True, True]
    target = tmp_path / "copy"
    copy = ["xorriso", "-osirrox", "on", "-indev", str(seed), "-extract", "/", str(target)]
    subprocess.run(copy, check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == FILES
    assert seed.stat().st_mode & 0o777 == 0o600


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    seed = tmp_path / "seed.iso"
    write_disc(seed, "cidata", FILES)
    with Disc(seed) as disc:
        assert disc.label == "cidata"
        assert {name: (disc.text(name) or "").encode() for name in FILES} == FILES
    with pytest.raises(HostError, match="File exists"):
        write_disc(seed, "cidata", FILES)
    with pytest.raises(ConfigError, match="too many for a small disc"):
        disc_of("cidata", {f"file-number-{number}": b"" for number in range(100)})


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", bytes(16 * SECTOR), bytes(40 * SECTOR)])
def test_what_is_no_disc_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ConfigError, match="is no ISO image"):
        Disc(tmp_path / "file")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="nothing: No such file"):
        Disc(tmp_path / "nothing")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(16 * SECTOR, 27 * SECTOR), st.binary(min_size=1, max_size=9)), max_size=8),
    st.integers(0, 30),
)
def test_a_spoilt_disc_is_read_or_refused(spoils: list[tuple[int, bytes]], cut: int) -> None:
    data = bytearray(disc_of("cidata", FILES))
    for at, piece in spoils:
        data[at : at + len(piece)] = piece
    path = Path("/dev/shm/innkeeper-spoilt.iso")
    path.write_bytes(data[: len(data) - cut * 999])
    try:
        with Disc(path) as disc:
            for name in FILES:
                disc.text(name)
    except InnkeeperError:
        pass
    finally:
        path.unlink()
