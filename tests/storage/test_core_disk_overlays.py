"""Disks in use move onto overlays at one moment: what they held stays as it was then."""

import threading
from pathlib import Path

import pytest

from innkeeper import _core, storage
from tests.storage.qemu import needs_qemu, qemu_img, qemu_io

MIB = 1 << 20


def overlay(path: Path, base: Path, size: int = 4 * MIB, base_format: str = "qcow2") -> Path:
    options = storage.ImageOptions(backing_file=str(base), backing_fmt=base_format)
    storage.create(path, size, image_format="qcow2", options=options, open_backing=False)
    return path


@pytest.fixture
def bases(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        storage.create(path, 4 * MIB, image_format="qcow2")
    return paths


@needs_qemu
def test_what_is_written_from_then_on_is_in_the_overlay(bases: list[Path], tmp_path: Path) -> None:
    disk = _core.Disk(bases[0], cache="writethrough")
    disk.write(0, b"1" * 4096)
    _core.lay_overlays([(disk, overlay(tmp_path / "top", bases[0]))])
    assert (disk.format, disk.chain) == ("qcow2", [tmp_path / "top", bases[0]])
    disk.write(MIB, b"2" * 4096)
    assert disk.read(0, 4096) == b"1" * 4096
    assert disk.read(MIB, 4096) == b"2" * 4096
    with pytest.raises(BlockingIOError, match="locked"):
        _core.Disk(bases[0])
    assert _core.Disk(bases[0], read_only=True).read(0, 4096) == b"1" * 4096
    qemu_img("convert", "-q", "-O", "qcow2", bases[0], tmp_path / "backup")
    qemu_io(tmp_path / "backup", "read -q -P 49 0 4k")
    _core.lay_overlays([(disk, overlay(tmp_path / "again", tmp_path / "top"))])
    disk.write(2 * MIB, b"3" * 4096)
    disk.close()
    for path, values in ((bases[0], (49, 0, 0)), (tmp_path / "top", (49, 50, 0)), (tmp_path / "again", (49, 50, 51))):
        qemu_img("check", "-q", path)
        for place, value in enumerate(values):
            qemu_io(path, f"read -q -P {value} {place}M 4k")


def test_a_raw_disk_can_be_left_behind(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(MIB))
    disk = _core.Disk(tmp_path / "raw", format="raw")
    disk.write(512, b"1" * 512)
    _core.lay_overlays([(disk, overlay(tmp_path / "top", tmp_path / "raw", MIB, "raw"))])
    disk.write(512, b"2" * 512)
    with pytest.raises(BlockingIOError, match="locked"):
        _core.Disk(tmp_path / "raw", format="raw")
    assert _core.Disk(tmp_path / "raw", format="raw", read_only=True).read(512, 512) == b"1" * 512
    disk.close()
    assert (tmp_path / "raw").read_bytes()[512:1024] == b"1" * 512


@pytest.mark.parametrize("cache", ["writeback", "none"])
def test_what_was_left_behind_can_be_committed_to(bases: list[Path], tmp_path: Path, cache: str) -> None:
    disk, below = _core.Disk(bases[0], cache=cache), bases[0]
    for number in (1, 2, 3):
        disk.write(number * 512, bytes([number]) * 512)
        below = overlay(tmp_path / str(number), below)
        _core.lay_overlays([(disk, below)])
    middle = _core.BlockJob.commit(disk, 1, 3, str(bases[0]))
    with pytest.raises(BlockingIOError, match="locked"):
        _core.Disk(bases[0], read_only=True)
    middle.run(lambda *_: None)
    assert disk.chain == [tmp_path / "3", bases[0]]
    written = b"".join(bytes([number]) * 512 for number in (1, 2, 3))
    assert _core.Disk(bases[0], read_only=True).read(512, 1536) == written
    disk.write(512, b"9" * 512)
    for pivot in (False, True):
        active = _core.BlockJob.commit(disk, 0, 1, str(bases[0]))
        active.run(lambda *_: None)
        active.leave(pivot=pivot)
        free = tmp_path / "3" if pivot else bases[0]
        assert _core.Disk(free, read_only=True, backing=False).read(512, 512) == b"9" * 512
    del middle, active  # they have the disk open
    disk.write(0, b"8" * 512)
    disk.close()
    assert _core.Disk(bases[0], read_only=True).read(0, 2048) == b"8" * 512 + b"9" * 512 + written[512:]


def test_all_disks_move_at_one_moment(bases: list[Path], tmp_path: Path) -> None:
    """Who writes a number to one disk and then to the other never sees the second ahead of the first."""
    disks = [_core.Disk(path) for path in bases]
    stop, written = threading.Event(), threading.Event()

    def count(place: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            for disk in disks:
                disk.write(place, number.to_bytes(8) * 64)
            if number == 20:
                written.set()

    writers = [threading.Thread(target=count, args=(index * 4096,)) for index in range(3)]
    for writer in writers:
        writer.start()
    assert written.wait(30)
    tops = [overlay(tmp_path / f"top-{path.name}", path) for path in bases]
    _core.lay_overlays(list(zip(disks, tops, strict=True)))
    written.clear()
    assert not stop.wait(0.1)  # some more writing, above
    stop.set()
    for writer in writers:
        writer.join()
    above = [disk.read(0, 512) for disk in disks]
    for disk in disks:
        disk.close()
    below = [_core.Disk(path, read_only=True) for path in bases]
    for index in range(3):
        first, second = (int.from_bytes(disk.read(index * 4096, 8)) for disk in below)
        assert 20 <= second <= first <= second + 1 or index, "the second disk is ahead of the first"
        assert second <= first <= second + 1
    assert int.from_bytes(above[0][:8]) > 20


def test_none_moves_if_one_cannot(bases: list[Path], tmp_path: Path) -> None:
    disks = [_core.Disk(path) for path in bases]
    good = overlay(tmp_path / "good", bases[0])
    for wrong, words in (
        (tmp_path / "none", "No such file"),
        (bases[0], "is locked"),
        (overlay(tmp_path / "other", bases[0]), "other does not lie over .*/b"),
        (overlay(tmp_path / "large", bases[1], 8 * MIB), "large has 8388608 bytes, and the disk below it 4194304"),
    ):
        with pytest.raises((OSError, ValueError), match=words):
            _core.lay_overlays([(disks[0], good), (disks[1], wrong)])
        assert disks[0].chain == [bases[0]]
    with pytest.raises(ValueError, match="two overlays"):
        _core.lay_overlays([(disks[0], good), (disks[0], good)])
    disks[0].write(0, b"x" * 512)
    assert storage.info(good)["actual-size"] <= storage.info(tmp_path / "other")["actual-size"]
    disks[1].close()
    with pytest.raises(ValueError, match="closed"):
        _core.lay_overlays([(disks[1], good)])
