"""Snapshots by overlays: laid over, merged, and only removed if they were made here."""

from pathlib import Path
from uuid import UUID

import pytest
from tests.manager.snapshots.web import ID, disks, files, holds, names_in, request, write
from tests.storage.qemu import needs_qemu, qemu_json

from innkeeper import storage
from innkeeper.errors import ConfigError, InnkeeperError
from innkeeper.manager.snapshots import Snapshots
from innkeeper.manager.snapshots.drives import written_drives
from innkeeper.manager.storage.work import finish

pytestmark = needs_qemu


def test_overlays_take_what_is_written_from_then_on(snapshots: Snapshots, folder: Path) -> None:
    snapshots.create("web", request("one"), disk_only=True)
    assert disks(folder) == {"vda": folder / "a.one", "vdb": folder / "b.one"}
    assert qemu_json("info", folder / "a.one")["full-backing-filename"] == str(folder / "a.qcow2")
    for name in "ab":
        write(folder / f"{name}.one", 2)
        holds(folder / f"{name}.qcow2", 1)
    assert snapshots.info("web")["location"] == "external"
    snapshots.revert("web")
    assert files(folder) == ["a.one-1", "a.qcow2", "b.one-1", "b.qcow2"], "the overlays that were left are gone"
    assert disks(folder)["vda"] == folder / "a.one-1"
    holds(folder / "a.one-1", 1)


def test_a_chain_is_deleted_in_any_order(snapshots: Snapshots, folder: Path) -> None:
    for order in (["one", "two", "three"], ["three", "one", "two"], ["two", "three", "one"]):
        for number, name in enumerate(("one", "two", "three"), start=10):
            snapshots.create("web", request(name), disk_only=True)
            write(disks(folder)["vda"], number)
        for name in order:
            finish(snapshots.delete("web", name))
            holds(disks(folder)["vda"], 12)
            for each in snapshots.list("web"):
                value = {"one": 1, "two": 10, "three": 11}[each["name"]]
                drive = written_drives(
                    snapshots.xml("web", each["name"])
                    .partition("<domain ")[2]
                    .join(["<domain ", ""])
                    .rpartition("</domainsnapshot>")[0]
                )["vda"]
                holds(drive.file, value)
        assert disks(folder) == {"vda": folder / "a.qcow2", "vdb": folder / "b.qcow2"}
        assert files(folder) == ["a.qcow2", "b.qcow2"]
        write(folder / "a.qcow2", 1)


def test_branches_are_not_merged_into_what_others_need(snapshots: Snapshots, folder: Path) -> None:
    snapshots.create("web", request("base"), disk_only=True)
    write(disks(folder)["vda"], 2)
    snapshots.create("web", request("left"), disk_only=True)
    snapshots.revert("web", "base")
    write(disks(folder)["vda"], 3)
    with pytest.raises(ConfigError, match="snapshot base has 2 branches on disk vda"):
        finish(snapshots.delete("web", "base"))
    holds(folder / "a.qcow2", 1)
    finish(snapshots.delete("web", "left"))
    finish(snapshots.delete("web", "base"))
    holds(disks(folder)["vda"], 3)


def test_a_snapshot_within_an_overlay_keeps_it(snapshots: Snapshots, folder: Path) -> None:
    snapshots.create("web", request("out"), disk_only=True)
    snapshots.create("web", request("in"))
    with pytest.raises(ConfigError, match="snapshot in needs disk vda as snapshot out keeps it; delete in first"):
        finish(snapshots.delete("web", "out"))
    write(disks(folder)["vda"], 2)
    snapshots.revert("web", "in")
    holds(disks(folder)["vda"], 1)
    finish(snapshots.delete("web", "in"))
    finish(snapshots.delete("web", "out"))
    assert files(folder) == ["a.qcow2", "b.qcow2"]


def test_overlays_are_where_they_were_wanted(snapshots: Snapshots, folder: Path) -> None:
    place = folder / "elsewhere" / "top"
    more = f"<disks><disk name='vda'><source file='{place}'/></disk><disk name='vdb' snapshot='no'/></disks>"
    with pytest.raises(InnkeeperError, match="elsewhere/top"):
        snapshots.create("web", request("one", more))
    place.parent.mkdir()
    snapshots.create("web", request("one", more))
    assert disks(folder) == {"vda": place, "vdb": folder / "b.qcow2"}
    with pytest.raises(ConfigError, match="top exists already"):
        snapshots.create("web", request("two", more))
    with pytest.raises(ConfigError, match="does not lie over"):
        snapshots.create("web", request("two", more), reuse=True)
    assert disks(folder)["vda"] == place


def test_an_overlay_of_the_users_own_can_be_used(snapshots: Snapshots, folder: Path) -> None:
    options = storage.ImageOptions(backing_file=str(folder / "a.qcow2"), backing_fmt="qcow2")
    storage.create(folder / "a.mine", image_format="qcow2", options=options)
    more = f"<disks><disk name='vda'><source file='{folder}/a.mine'/></disk><disk name='vdb' snapshot='no'/></disks>"
    snapshots.create("web", request("one", more), reuse=True)
    assert disks(folder)["vda"] == folder / "a.mine"
    snapshots.revert("web", "one")
    assert (folder / "a.mine").exists(), "it was not made here, so it is not removed here"


def test_without_metadata_nobody_knows(snapshots: Snapshots, folder: Path) -> None:
    snapshots.create("web", request("one"), metadata=False)
    assert (names_in(folder / "a.qcow2"), snapshots.list("web")) == (["one"], [])
    snapshots.create("web", request("two"), metadata=False, disk_only=True)
    assert (disks(folder)["vda"], snapshots.list("web")) == (folder / "a.two", [])


def test_what_was_forgotten_can_be_defined_again(snapshots: Snapshots, folder: Path) -> None:
    snapshots.create("web", request("one"))
    snapshots.create("web", request("two"))
    xml = snapshots.xml("web", "two")
    finish(snapshots.delete("web", "two", metadata_only=True))
    snapshots.redefine("web", xml, current=True)
    assert snapshots.xml("web") == xml
    with pytest.raises(ConfigError, match="the parent of snapshot two cannot be 'nobody'"):
        snapshots.redefine("web", xml.replace("<name>one<", "<name>nobody<"))
    with pytest.raises(ConfigError, match="the parent of snapshot one cannot be 'two'"):
        snapshots.redefine("web", xml.replace("one", "x").replace("two", "one").replace("<name>x<", "<name>two<"))
    with pytest.raises(ConfigError, match="is of machine"):
        snapshots.redefine("web", xml.replace(str(ID), str(UUID(int=8))))
    write(folder / "a.qcow2", 2)
    snapshots.revert("web", "two")
    holds(folder / "a.qcow2", 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<domain/>", "a snapshot is a <domainsnapshot>"),
        (request("../x"), "a snapshot's name is '../x'"),
        (request("n" * 10_000), "a snapshot's name is"),
        (request("one", "<memory snapshot='internal'/>"), "machine web does not run, so it has no memory to keep"),
        (request("one", "<disks><disk name='vdz'/></disks>"), "machine web has no disk 'vdz'.*those are vda, vdb"),
        (request("one", "<disks><disk/></disks>"), "has no name"),
        (request("one", "<disks><disk name='vda' snapshot='manual'/></disks>"), "is 'manual'"),
        (request("one", "<disks><disk name='vda'><source file='x'/></disk></disks>"), "give its whole path"),
        (
            request(
                "one", "<disks><disk name='vda' snapshot='external'/><disk name='vdb' snapshot='internal'/></disks>"
            ),
            "disk vdb cannot be internal",
        ),
        (
            request("one", "<disks><disk name='vda' snapshot='no'/><disk name='vdb' snapshot='no'/></disks>"),
            "has no disk that a snapshot could be of",
        ),
    ],
)
def test_what_cannot_be_is_said(snapshots: Snapshots, folder: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        snapshots.create("web", text)
    assert (snapshots.list("web"), files(folder)) == ([], ["a.qcow2", "b.qcow2"])
