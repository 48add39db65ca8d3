"""Firmware files: found, refused, and UEFI's variables kept."""

from pathlib import Path

import pytest

from innkeeper.config import FirmwareConfig, FirmwareKind
from innkeeper.errors import BootError, HostError
from innkeeper.firmware.rom import open_firmware
from innkeeper.firmware.variables import VariableStore
from innkeeper.host.packages import firmware_file


def test_firmware_that_is_not_installed_names_its_package(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="package seabios has; as root: apt-get install seabios"):
        firmware_file("seabios", tmp_path)


@pytest.mark.parametrize("size", [0x1000, 0x1_0001, (16 << 20) + 0x1000])
def test_what_cannot_be_firmware_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "rom").write_bytes(bytes(size))
    with pytest.raises(BootError, match=f"has {size} bytes; an image has whole pages, from 64 KiB to 16 MiB"):
        open_firmware(FirmwareConfig(path=tmp_path / "rom"))


def test_a_log_takes_what_firmware_says(tmp_path: Path) -> None:
    (tmp_path / "rom").write_bytes(bytes(0x1_0000))
    firmware = open_firmware(FirmwareConfig(path=tmp_path / "rom", log=tmp_path / "log"))
    assert firmware.log is not None
    firmware.log(b"abc")
    firmware.close()
    assert (tmp_path / "log").read_bytes() == b"abc"


def test_a_log_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "rom").write_bytes(bytes(0x1_0000))
    with pytest.raises(BootError, match=r"cannot write firmware log .*: is a directory"):
        open_firmware(FirmwareConfig(path=tmp_path / "rom", log=tmp_path))


def uefi(directory: Path, **keys: Path) -> FirmwareConfig:
    (directory / "X_CODE_4M.fd").write_bytes(bytes(0x1_0000))
    return FirmwareConfig(kind=FirmwareKind.UEFI, path=directory / "X_CODE_4M.fd", **keys)


def test_variables_come_from_the_template_beside_the_image_and_are_kept(tmp_path: Path) -> None:
    (tmp_path / "X_VARS_4M.fd").write_bytes(b"t" * 0x1000)
    mine = tmp_path / "mine.fd"
    firmware = open_firmware(uefi(tmp_path, vars=mine))
    assert firmware.variables is not None
    firmware.variables.write(5, b"new")
    firmware.close()

    again = open_firmware(uefi(tmp_path, vars=mine))
    assert again.variables is not None
    assert again.variables.content[4:9] == b"tnewt"
    assert (tmp_path / "X_VARS_4M.fd").read_bytes() == b"t" * 0x1000
    with pytest.raises(HostError, match="are in use by another machine"):
        open_firmware(uefi(tmp_path, vars=mine))
    again.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["X_CODE_4M.fd", "X_VARS_4M.fd", "mine.fd"]


def test_variables_without_a_file_stay_in_memory(tmp_path: Path) -> None:
    (tmp_path / "X_VARS_4M.fd").write_bytes(b"t" * 0x1000)
    firmware = open_firmware(uefi(tmp_path))
    assert firmware.variables is not None
    firmware.variables.write(0, b"new")
    assert firmware.variables.content[:4] == b"newt"
    firmware.close()


def test_variables_of_another_firmware_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.fd").write_bytes(bytes(0x2000))
    with pytest.raises(BootError, match="have 8192 bytes; this firmware's have 4096"):
        VariableStore.open(tmp_path / "other.fd", bytes(0x1000))


def test_firmware_without_a_template_wants_a_file(tmp_path: Path) -> None:
    with pytest.raises(BootError, match="no template of its variables beside it; name a file with vars="):
        open_firmware(uefi(tmp_path))
