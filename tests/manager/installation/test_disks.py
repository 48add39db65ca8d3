"""Disks of a machine that is being made."""

from pathlib import Path

import pytest

from innkeeper.config import DiskConfig, DiskFormat
from innkeeper.errors import ConfigError, HostError, InnkeeperError
from innkeeper.manager.installation import disks
from innkeeper.manager.installation.journal import Journal, folder_of
from innkeeper.manager.installation.order import Wanted
from innkeeper.manager.storage.work import finish
from innkeeper.storage import create, info


@pytest.fixture(autouse=True)
def folder(user: Path) -> Path:
    (user / "disks").mkdir()
    return user / "disks"


def placed(*texts: str) -> list[DiskConfig]:
    return disks.placed("a", [Wanted(disk=DiskConfig.parse(text)) for text in texts])


def made(*texts: str) -> None:
    found = placed(*texts)
    with Journal("a") as journal:
        for disk in disks.missing(found):
            finish(disks.create(disk, journal))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_overlay_is_made_over_the_image_that_was_named(folder: Path) -> None:
    create(folder / "below.qcow2", 1 << 20, image_format="qcow2")
    made(f"path={folder}/over,size=0.01,backing_store={folder}/below.qcow2,backing_format=qcow2")
    assert info(folder / "over")["backing-filename"] == f"{folder}/below.qcow2"


def test_a_disk_that_is_there_stays_as_it_is(folder: Path) -> None:
    (folder / "mine").write_bytes(bytes(512))
    found = placed(f"path={folder}/mine,format=raw", f"{folder}/new,size=0.01")
    assert [disk.format for disk in disks.once_made(found)] == [DiskFormat.RAW, DiskFormat.QCOW2]
    assert [disk.path for disk in disks.missing(found)] == [folder / "new"]


def test_a_disk_without_a_sector_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=f"disk {folder}/d has size=.*at least one sector"):
        made(f"path={folder}/d,size=0.0000000001")
    assert not list(folder.iterdir())


@pytest.mark.parametrize("options", ["format=qcow2", "format=raw", "format=raw,sparse=no", "format=qcow2,sparse=no"])
def test_a_file_that_appears_meanwhile_stays_whoever_gives_up(folder: Path, options: str) -> None:
    (disk,) = disks.missing(placed(f"path={folder}/d,size=0.01,{options}"))
    with Journal("a") as journal:
        making = disks.create(disk, journal)
        if "sparse" in options:
            next(making)
            (folder / "d").write_text("somebody's")
        else:
            (folder / "d").symlink_to(folder / "elsewhere")
        with pytest.raises(InnkeeperError, match=f"{folder}/d"):
            finish(making)
        assert journal.undo(lambda _uuid: None) == []
    assert names(folder) == ["d"]


def test_what_was_made_is_removed_and_nothing_that_took_its_name(folder: Path) -> None:
    found = disks.missing(placed(f"{folder}/one,size=0.01", f"{folder}/two,size=0.01,format=raw,sparse=no"))
    with Journal("a") as journal:
        for disk in found:
            finish(disks.create(disk, journal))
        (folder / "one").rename(folder / "kept")
        (folder / "one").symlink_to(folder / "kept")
        assert journal.undo(lambda _uuid: None) == [f"{folder}/two"]
    assert names(folder) == ["kept", "one"]
    assert not folder_of("a").exists()


def test_a_maker_that_leaves_in_the_middle_leaves_nothing(folder: Path) -> None:
    (disk,) = disks.missing(placed(f"{folder}/d,size=0.2,format=raw,sparse=no"))
    with Journal("a") as journal:
        making = disks.create(disk, journal)
        assert next(making)["done"] == 64 << 20
        assert len(names(folder)) == 1  # without its name
        making.close()
        assert journal.undo(lambda _uuid: None) == []
    assert names(folder) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path=d,size=1", "give its whole path"),
        ("path={0}/d,size=1,backing_store=b", "give its whole path"),
        ("path={0}/gone", "is a symbolic link to {0}/nothing, where there is nothing"),
        ("path={0}/gone,size=1", "is a symbolic link to {0}/nothing, where there is nothing"),
        ("path={0}/loop,size=1", "is a symbolic link to {0}/loop"),
        ("path={0},size=1", "is a folder; give a file"),
        ("path={0}/none/d,size=1", "there is no folder {0}/none"),
        ("path={0}/none,device=cdrom", "there is no file {0}/none for the CD-ROM drive"),
    ],
)
def test_places_where_no_disk_can_be(folder: Path, text: str, words: str) -> None:
    (folder / "gone").symlink_to(folder / "nothing")
    (folder / "loop").symlink_to(folder / "loop")
    with pytest.raises(ConfigError) as refused:
        placed(text.format(folder))
    assert words.format(folder) in str(refused.value)


def test_a_full_disk_is_named_as_it_would_be_called(folder: Path) -> None:
    (disk,) = disks.missing(placed(f"{folder}/d,size=1000000,format=raw,sparse=no"))
    with Journal("a") as journal, pytest.raises(HostError, match=f"cannot make disk {folder}/d of .* bytes"):
        finish(disks.create(disk, journal))
    assert names(folder) == []
