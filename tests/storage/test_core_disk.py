"""`_core.Disk`: images as Python opens them."""

from pathlib import Path

import pytest

from innkeeper._core import Disk


def raw(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_a_raw_disk_holds_what_is_written(tmp_path: Path) -> None:
    path = raw(tmp_path / "disk.raw", 1 << 20)
    disk = Disk(path, format="raw")
    disk.write(512, b"hello" * 100)
    disk.flush()

    assert disk.size == 1 << 20
    assert disk.read(510, 7) == b"\0\0hello"
    assert path.read_bytes()[512:517] == b"hello"


def test_a_size_between_sectors_is_rounded_up_and_padded(tmp_path: Path) -> None:
    path = raw(tmp_path / "disk.raw", 1000)
    disk = Disk(path, format="raw")

    assert disk.size == 1024
    assert disk.read(512, 512) == bytes(512)
    disk.write(512, b"x" * 512)
    assert path.stat().st_size == 1024


def test_requests_beyond_the_end_are_refused_and_do_nothing(tmp_path: Path) -> None:
    disk = Disk(raw(tmp_path / "disk.raw", 4096), format="raw")

    for offset, length in [(4096, 1), (0, 4097), (2**64 - 1, 2)]:
        with pytest.raises(OSError, match="do not lie within the disk's 4096"):
            disk.read(offset, length)
    with pytest.raises(OSError, match="do not lie within"):
        disk.write(4000, bytes(97))


def test_zeroes_and_discards_make_holes(tmp_path: Path) -> None:
    path = raw(tmp_path / "disk.raw", 1 << 20)
    disk = Disk(path, format="raw")
    disk.write(0, b"x" * (1 << 20))
    disk.flush()
    full = path.stat().st_blocks
    disk.write_zeroes(0, 1 << 19, unmap=True)

    assert path.stat().st_blocks < full
    assert disk.read(0, 1 << 19) == bytes(1 << 19)
    assert disk.extent(0, 1 << 20) == (1 << 19, True, True)
    assert disk.extent(1 << 19, 1 << 19) == (1 << 19, False, True)


def test_a_read_only_disk_is_not_written(tmp_path: Path) -> None:
    path = raw(tmp_path / "disk.raw", 4096)
    path.chmod(0o444)
    disk = Disk(path, format="raw", read_only=True)

    assert disk.read_only
    with pytest.raises(OSError, match="read-only"):
        disk.write(0, b"x" * 512)


def test_a_closed_disk_says_so(tmp_path: Path) -> None:
    disk = Disk(raw(tmp_path / "disk.raw", 4096), format="raw")
    disk.close()
    disk.close()

    with pytest.raises(ValueError, match="the disk is closed"):
        disk.read(0, 512)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"cannot open .*missing\.raw"):
        Disk(tmp_path / "missing.raw")
    with pytest.raises((OSError, ValueError), match=r"(?i)folder|directory"):
        Disk(tmp_path)
    with pytest.raises(ValueError, match="the formats are raw and qcow2"):
        Disk(raw(tmp_path / "disk.raw", 4096), format="vmdk")


def test_a_guest_cannot_turn_its_raw_disk_into_an_image_with_a_backing_file(tmp_path: Path) -> None:
    path = raw(tmp_path / "disk.raw", 4096)
    guessed = Disk(path)
    assert "is taken for raw" in guessed.warnings[0]
    guessed.write(0, b"MBR" + bytes(1021))
    for evil in (b"QFI\xfb", b"QED\0"):
        with pytest.raises(PermissionError, match="guessed to be raw"):
            guessed.write(0, evil + bytes(508))
    assert guessed.read(0, 3) == b"MBR"
    guessed.close()
    exact = Disk(path, format="raw")
    assert not exact.warnings
    exact.write(0, b"QFI\xfb" + bytes(508))
    exact.close()
    with pytest.raises(ValueError, match="qcow2"):
        Disk(path)


def test_another_programs_format_is_not_taken_for_raw(tmp_path: Path) -> None:
    path = tmp_path / "disk.vmdk"
    path.write_bytes(b"KDMV" + bytes(4092))

    with pytest.raises(ValueError, match="looks like a VMDK image"):
        Disk(path)
    assert Disk(path, format="raw").size == 4096


def test_options_of_caching_and_zeroes(tmp_path: Path) -> None:
    path = raw(tmp_path / "disk.raw", 1 << 20)
    disk = Disk(path, format="raw", cache="writethrough", detect_zeroes="unmap")
    disk.write(0, b"x" * (1 << 20))
    full = path.stat().st_blocks
    disk.write(0, bytes(1 << 20))
    assert path.stat().st_blocks < full
    disk.close()
    disk = Disk(path, format="raw", discard="ignore", detect_zeroes="unmap")
    disk.write(0, b"x" * (1 << 20))
    disk.discard(0, 1 << 20)
    assert disk.read(0, 1) == b"x"
    disk.write(0, bytes(1 << 20))
    assert path.stat().st_blocks == full
    disk.close()
    for wrong in ({"cache": "full"}, {"discard": "on"}, {"detect_zeroes": "yes"}):
        with pytest.raises(ValueError, match="is unknown"):
            Disk(path, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("cache", ["none", "directsync"])
def test_past_the_page_cache_everything_is_as_it_was(tmp_path: Path, cache: str) -> None:
    path = raw(tmp_path / "disk.raw", (1 << 20) + 512)
    try:
        disk = Disk(path, format="raw", cache=cache)
    except ValueError as error:
        pytest.skip(str(error))
    disk.write(0, b"a" * (1 << 20))
    disk.write(512, b"b" * 512)
    disk.write(1 << 20, b"c" * 512)
    disk.flush()

    assert disk.read(0, (1 << 20) + 512) == b"a" * 512 + b"b" * 512 + b"a" * ((1 << 20) - 1024) + b"c" * 512
