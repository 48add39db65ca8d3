"""Images that lie, hosts that refuse, tools that are killed: one clear error, and nothing spoilt."""

import os
import resource
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper import _core
from innkeeper.errors import ImageError
from innkeeper.storage import (
    Conversion,
    ImageOptions,
    check,
    commit,
    compare,
    convert,
    create,
    create_snapshot,
    image_map,
    info,
    rebase,
    resize,
)
from tests.storage.qemu import is_clean, needs_qemu, qemu_img, qemu_io, qemu_json, raw_of

MIB = 1 << 20
INN = [sys.executable, "-m", "innkeeper.cli", "image"]


def patched(path: Path, offset: int, form: str, value: int) -> bytes:
    """Writes a number into the image's file; answers all of its bytes."""
    with path.open("rb+") as file:
        file.seek(offset)
        file.write(struct.pack(form, value))
    return path.read_bytes()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.qcow2"
    (tmp_path / "disk.raw").write_bytes(b"data" * (MIB // 2))
    convert(tmp_path / "disk.raw", path, Conversion(image_format="qcow2"))
    create_snapshot(path, "one")
    return path


EVERY: dict[str, Callable[[Path], object]] = {
    "info": info,
    "check": check,
    "repair": lambda path: check(path, repair="all"),
    "map": image_map,
    "resize": lambda path: resize(path, 8 * MIB, "qcow2"),
    "snapshot": lambda path: create_snapshot(path, "two"),
    "convert": lambda path: convert(path, path.with_suffix(".raw"), Conversion(source_format="qcow2")),
    "compare": lambda path: compare(path, path, formats=("qcow2", "qcow2")),
    "commit": lambda path: commit(path, "qcow2"),
    "rebase": lambda path: rebase(path, "x", backing_format="raw", unsafe=True),
}


@pytest.mark.parametrize(
    ("offset", "form", "value", "sentence"),
    [
        (4, ">I", 9, "qcow2 version 9"),
        (20, ">I", 40, "cluster bits 40"),
        (24, ">Q", 1 << 63, "size"),
        (24, ">Q", 1 << 60, "L1 table"),
        (32, ">I", 1, "encrypted"),
        (36, ">I", 0xFFFFFFFF, "L1 table of 4294967295 entries"),
        (40, ">Q", 0x1234, "L1 table's offset"),
        (48, ">Q", 1 << 50, "refcount table"),
        (56, ">I", 0xFFFFFFFF, "refcount table"),
        (60, ">I", 0xFFFFFFFF, "4294967295 snapshots"),
        (72, ">Q", 1 << 40, "unknown incompatible features: bit 40"),
        (96, ">I", 9, "refcount order 9"),
        (100, ">I", 0xFFFFFFF8, "header length"),
    ],
)
@pytest.mark.parametrize("verb", EVERY)
def test_a_header_that_cannot_be_is_one_sentence(
    image: Path, offset: int, form: str, value: int, sentence: str, verb: str
) -> None:
    before = patched(image, offset, form, value)

    with pytest.raises(ImageError, match=sentence) as raised:
        EVERY[verb](image)

    assert str(image) in str(raised.value)
    assert image.read_bytes() == before
    assert not image.with_suffix(".raw").exists()


@pytest.mark.parametrize("verb", EVERY)
@pytest.mark.parametrize("length", [0, 4, 60, 500, 70_000])
def test_an_image_that_was_cut_short(image: Path, length: int, verb: str) -> None:
    os.truncate(image, length)
    before = image.read_bytes()

    try:
        EVERY[verb](image)
    except ImageError as error:
        assert str(image) in str(error)  # noqa: PT017 - to succeed is right for some: an empty file is an empty raw disk
        assert image.read_bytes() == before


def test_a_missing_backing_file_is_named_with_who_names_it(tmp_path: Path) -> None:
    over = tmp_path / "over.qcow2"
    options = ImageOptions(backing_file="gone.raw", backing_fmt="raw")
    create(over, MIB, image_format="qcow2", options=options, open_backing=False)

    for verb in ("map", "convert", "compare", "commit"):
        with pytest.raises(ImageError, match=r"cannot open .*gone\.raw.*over\.qcow2"):
            EVERY[verb](over)
    assert info(over)["backing-filename"] == "gone.raw"


def test_entries_that_lead_nowhere_are_found_and_mended(image: Path, tmp_path: Path) -> None:
    before = (tmp_path / "disk.raw").read_bytes()
    table = struct.unpack(">Q", image.read_bytes()[struct.unpack(">Q", image.read_bytes()[40:48])[0] :][:8])[0]
    patched(image, (table & ~(1 << 63)) + 8, ">Q", (1 << 40) | (1 << 63))
    found = check(image)
    assert found.get("corruptions", 0) > 0
    assert any("leads to no cluster" in line for line in found["findings"])
    with pytest.raises(ImageError, match="repair it first"):
        create_snapshot(image, "two")

    mended = check(image, repair="all")

    assert mended.get("corruptions", 0) == 0
    assert mended["corruptions-fixed"] > 0
    convert(image, tmp_path / "after.raw", Conversion())
    assert (tmp_path / "after.raw").read_bytes() == before[:65536] + bytes(65536) + before[131072:]


@needs_qemu
def test_what_qemu_img_calls_corrupt_or_lost_so_do_we(image: Path) -> None:
    data = image.read_bytes()
    blocks = struct.unpack(">Q", data[48:56])[0]
    block = struct.unpack(">Q", data[blocks : blocks + 8])[0]
    last = len(data) // 65536 - 1
    patched(image, block + 2 * last, ">H", 0)  # a cluster that nobody has counted
    patched(image, block + 2 * (last + 5), ">H", 0)
    os.truncate(image, len(data) + 3 * 65536)
    patched(image, block + 2 * (last + 2), ">H", 3)  # and one that nobody uses
    theirs = qemu_json("check", image, status=2)

    ours = check(image)

    assert (ours["corruptions"], ours["leaks"]) == (theirs["corruptions"], theirs["leaks"])
    assert ours["allocated-clusters"] == theirs["allocated-clusters"]
    check(image, repair="leaks")
    assert "leaks" not in qemu_json("check", image, status=2)
    check(image, repair="all")
    assert is_clean(image)


@needs_qemu
def test_lost_clusters_alone_have_a_status_of_their_own(image: Path) -> None:
    with image.open("ab") as file:
        file.write(bytes(65536))
    data = image.read_bytes()
    blocks = struct.unpack(">Q", data[48:56])[0]
    block = struct.unpack(">Q", data[blocks : blocks + 8])[0]
    patched(image, block + 2 * (len(data) // 65536 - 1), ">H", 1)
    qemu_img("check", image, status=3)

    assert subprocess.run([*INN, "check", str(image)], capture_output=True, check=False).returncode == 3
    assert subprocess.run([*INN, "check", "-r", "leaks", str(image)], capture_output=True, check=False).returncode == 0
    assert is_clean(image)


def test_a_running_machines_image_is_refused_by_name(image: Path, tmp_path: Path) -> None:
    disk = _core.Disk(image, format="qcow2")
    try:
        for verb in ("info", "check", "repair", "map", "resize", "snapshot", "convert", "rebase"):
            with pytest.raises(ImageError, match=r"image\.qcow2.*(use|lock)"):
                EVERY[verb](image)
        with pytest.raises(ImageError, match=r"image\.qcow2"):
            convert(tmp_path / "disk.raw", image, Conversion(image_format="qcow2"))
        with pytest.raises(ImageError, match=r"image\.qcow2"):
            create(image, MIB)
        assert info(image, share=True)["virtual-size"] == 2 * MIB
    finally:
        disk.close()
    assert info(image)["virtual-size"] == 2 * MIB


def limited_to(size: int) -> Callable[[], None]:
    """For a child: files may not become longer."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(
    "words",
    [
        ["convert", "-O", "qcow2", "disk.raw", "new"],
        ["convert", "-S", "0", "disk.raw", "new"],
        ["convert", "-c", "-O", "qcow2", "image.qcow2", "new"],
        ["create", "-o", "preallocation=full", "new", "8M"],
        ["create", "-f", "qcow2", "-o", "preallocation=falloc", "new", "8M"],
        ["resize", "--preallocation=full", "image.qcow2", "20M"],
        ["resize", "-f", "raw", "--preallocation=full", "disk.raw", "20M"],
    ],
    ids=" ".join,
)
def test_a_full_disk_is_one_error_and_nothing_is_left(image: Path, tmp_path: Path, words: list[str]) -> None:
    noise = os.urandom(MIB)
    (tmp_path / "disk.raw").write_bytes(noise * 3)
    convert(tmp_path / "disk.raw", image, Conversion(image_format="qcow2"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    run = subprocess.run(
        [*INN, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=limited_to(2 * MIB + 4096),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")},
    )

    assert run.returncode == 2, run.stderr
    assert run.stderr.startswith("error: cannot ")
    assert run.stderr.count("\n") == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("target", ["absent/new.qcow2", ".", "/proc/new.qcow2"])
def test_a_place_that_cannot_be_written_to(image: Path, tmp_path: Path, target: str) -> None:
    with pytest.raises(ImageError):
        convert(image, tmp_path / target, Conversion(image_format="qcow2"))


@needs_qemu
@pytest.mark.slow
def test_killed_at_any_moment_a_conversion_leaves_what_was_there(tmp_path: Path) -> None:
    source, target = tmp_path / "source.raw", tmp_path / "target.qcow2"
    source.write_bytes(os.urandom(MIB) * 200)
    create(target, MIB, image_format="qcow2")
    old = target.read_bytes()
    for turn in range(8):
        with subprocess.Popen([*INN, "convert", "-O", "qcow2", str(source), str(target)]) as run:
            time.sleep(0.1 + 0.05 * turn)
            run.send_signal(signal.SIGKILL)
        if target.read_bytes() != old:
            assert is_clean(target)
            assert qemu_img("compare", source, target)
            break
        assert sorted(path.name for path in tmp_path.iterdir()) == ["source.raw", "target.qcow2"]


def test_an_interrupt_stops_and_removes_what_was_half_made(tmp_path: Path) -> None:
    create(tmp_path / "big.raw", 1 << 40)
    words = [*INN, "convert", "-S", "0", "-O", "qcow2", str(tmp_path / "big.raw"), str(tmp_path / "new.qcow2")]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as run:
        time.sleep(1.0)
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=30)

    assert run.returncode == 130
    assert said == b""
    assert [path.name for path in tmp_path.iterdir()] == ["big.raw"]


@needs_qemu
@pytest.mark.slow
@pytest.mark.parametrize(
    "verb", [["snapshot", "-c", "k"], ["resize", "--preallocation=metadata", "+1G"], ["check", "-r", "all"]]
)
def test_killed_at_any_moment_a_change_leaves_a_clean_image(tmp_path: Path, verb: list[str]) -> None:
    path = tmp_path / "image.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=512", path, "20M")
    qemu_io(path, "write -P 1 0 20M")
    before = raw_of(path, tmp_path / "raw")
    words = [*INN, *verb[:-1], verb[-1], str(path)] if verb[0] != "resize" else [*INN, *verb[:2], str(path), verb[2]]
    for turn in range(8):
        with subprocess.Popen(
            [word if word != "k" else f"k{turn}" for word in words], stdout=subprocess.DEVNULL
        ) as run:
            time.sleep(0.08 + 0.03 * turn)
            run.send_signal(signal.SIGKILL)
        assert is_clean(path)
        assert raw_of(path, tmp_path / "raw")[: 20 * MIB] == before
