"""Disks and discs of a configuration: opened, refused, changed."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from innkeeper import InnkeeperError
from innkeeper.config import DiskConfig, MachineConfig
from innkeeper.config.disk import DiskBus, DiskDevice, DiskFormat
from innkeeper.devices.boot import Bootable, BootKind, boot_order, boot_path
from innkeeper.machine.drives import CdromDrive, Drives
from innkeeper.machine.virtio import virtio_disks

SECTOR = 2048


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    """As little of an ISO as shows what it is."""
    path = tmp_path / "a.iso"
    path.write_bytes(bytes(16 * SECTOR) + b"\x01CD001\x01".ljust(SECTOR, b"\0") + bytes(SECTOR))
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(1 << 16))
    return path


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(InnkeeperError) as error:
        make()
    return str(error.value)


def test_a_file_that_is_no_iso_is_refused_unless_it_is_meant(image: Path) -> None:
    assert "is no ISO image" in refusal(lambda: CdromDrive(DiskConfig.cdrom(image)))
    meant = DiskConfig.parse(f"path={image},device=cdrom,check=no,format=raw")
    CdromDrive(meant).close()


def test_a_disc_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.iso"
    assert str(missing) in refusal(lambda: CdromDrive(DiskConfig.cdrom(missing)))


def test_a_disc_is_changed_and_a_bad_one_leaves_the_old_one(iso: Path, image: Path) -> None:
    drive = CdromDrive(DiskConfig.cdrom(iso))
    assert drive.tray.loaded
    refusal(lambda: drive.change(image))
    assert drive.tray.loaded
    assert drive.path == iso
    drive.change(None)
    assert not drive.tray.loaded
    drive.change(image, check=False)
    assert drive.path == image
    drive.close()


def test_a_drive_may_be_empty() -> None:
    drive = CdromDrive(DiskConfig(path=None, device=DiskDevice.CDROM, bus=DiskBus.IDE))
    assert not drive.tray.loaded
    drive.close()


def test_ide_has_four_places(iso: Path) -> None:
    with ExitStack() as held:
        assert Drives([DiskConfig.cdrom(iso)] * 4, held).ide() is not None
        assert "4 places" in refusal(lambda: Drives([DiskConfig.cdrom(iso)] * 5, held))
        assert Drives([], held).ide() is None


def test_sata_has_six_ports_and_firmware_is_told_of_them(iso: Path, image: Path) -> None:
    disc = DiskConfig(path=iso, device=DiskDevice.CDROM, bus=DiskBus.SATA, readonly=True, boot_order=2)
    disk = DiskConfig(path=image, bus=DiskBus.SATA, format=DiskFormat.RAW)
    with ExitStack() as held:
        ahci = Drives([disk, disc], held).sata()
        assert ahci is not None
        assert [boot_path(entry, 5) for entry in ahci.boot_entries()] == [
            "/pci@i0cf8/pci8086,2922@5/drive@0/disk@0",
            "/pci@i0cf8/pci8086,2922@5/drive@1/disk@0",
        ]
        assert [(entry.kind, entry.order) for entry in ahci.boot_entries()] == [
            (BootKind.HD, None),
            (BootKind.CDROM, 2),
        ]
        assert "6 places" in refusal(lambda: Drives([disc] * 7, held))


def test_disks_are_booted_as_they_were_given_not_as_their_buses_come(tmp_path: Path) -> None:
    disks: list[DiskConfig] = []
    for bus in (DiskBus.VIRTIO, DiskBus.SATA, DiskBus.IDE, DiskBus.VIRTIO):
        path = tmp_path / str(len(disks))
        path.write_bytes(bytes(1 << 20))
        disks.append(DiskConfig(path=path, bus=bus, format=DiskFormat.RAW))
    config = MachineConfig(disks=tuple(disks))
    with ExitStack() as held:
        drives = Drives(config.disks, held)
        slots = [disk.slot for disk in virtio_disks(config, held)]
        devices: list[object] = [drives.ide(), drives.sata(), *slots]
        entries = [entry for device in devices if isinstance(device, Bootable) for entry in device.boot_entries()]
        named = [(entry.path.partition("@")[0], entry) for entry in entries]
        assert boot_order(named, (BootKind.HD,)) == ["scsi", "pci8086,2922", "ide", "scsi"]


def test_an_ata_disk_cannot_be_read_only(image: Path) -> None:
    config = DiskConfig(path=image, bus=DiskBus.IDE, readonly=True)
    with ExitStack() as held:
        assert "read-only" in refusal(lambda: Drives([config], held))
