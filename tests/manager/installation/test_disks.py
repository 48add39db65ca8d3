"""Disks of a machine that is being made."""

from pathlib import Path

import pytest

from innkeeper.config import DiskConfig, DiskFormat
from innkeeper.errors import ConfigError
from innkeeper.manager.installation.disks import Disks
from innkeeper.storage import create, info


def made(*texts: str) -> Disks:
    disks = Disks([DiskConfig.parse(text) for text in texts])
    for disk in disks.missing():
        disks.create(disk, lambda _stage, _done: None)
    return disks


def test_an_overlay_is_made_over_the_image_that_was_named(tmp_path: Path) -> None:
    create(tmp_path / "below.qcow2", 1 << 20, image_format="qcow2")
    made(f"path={tmp_path}/over,size=0.01,backing_store={tmp_path}/below.qcow2,backing_format=qcow2")
    assert info(tmp_path / "over")["backing-filename"] == f"{tmp_path}/below.qcow2"


def test_a_disk_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(bytes(512))
    disks = Disks([DiskConfig.parse(f"path={tmp_path}/mine,format=raw"), DiskConfig.parse(f"{tmp_path}/new,size=0.01")])
    assert [disk.format for disk in disks.resolved()] == [DiskFormat.RAW, DiskFormat.QCOW2]
    assert [disk.path for disk in disks.missing()] == [tmp_path / "new"]


def test_a_disk_without_a_sector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one sector"):
        made(f"path={tmp_path}/d,size=0.0000000001")
    assert not list(tmp_path.iterdir())
