"""Snapshots within images: of all disks or none, gone back to, deleted in any order."""

from pathlib import Path

import pytest
from tests.manager.snapshots.web import ID, MIB, document, holds, names_in, request, write
from tests.storage.qemu import needs_qemu, qemu_json

from innkeeper import storage
from innkeeper.errors import ConfigError, HostError
from innkeeper.machine.names import Registration
from innkeeper.manager.saves import managed_file
from innkeeper.manager.snapshots import Snapshots
from innkeeper.manager.storage.work import finish
from innkeeper.manager.store import Store

pytestmark = needs_qemu


def test_all_disks_are_what_they_were(snapshots: Snapshots, folder: Path) -> None:
    more = "<description>fresh</description><disks><nothing/></disks>"
    taken = snapshots.create("web", request("one", more))
    assert taken == {"name": "one", "unknown": ["disks/nothing"]}
    for name in "ab":
        write(folder / f"{name}.qcow2", 2)
        assert names_in(folder / f"{name}.qcow2") == ["one"]
    assert snapshots.revert("web") == "one"
    for name in "ab":
        holds(folder / f"{name}.qcow2", 1)
    found = snapshots.info(str(ID), "one")
    assert (found["location"], found["state"], found["current"]) == ("internal", "shutoff", True)
    assert (found["description"], found["parent"], found["domain"]) == ("fresh", None, "web")


def test_the_machine_is_what_it_was_too(snapshots: Snapshots, folder: Path) -> None:
    snapshots.create("web", request("one"))
    with Store(folder / "machines.sqlite") as store:
        store.put("web", ID, document(folder).replace(">64<", ">128<"))
    snapshots.revert("web", "one")
    with Store(folder / "machines.sqlite") as store:
        assert ">64<" in store.get("web").xml


def test_snapshots_are_a_tree(snapshots: Snapshots) -> None:
    for name in ("1", "2", "3"):  # names that are other snapshots' ids within the images
        snapshots.create("web", request(name))
    snapshots.revert("web", "1")
    snapshots.create("web", request("4"))
    snapshots.set_current("web", "2")
    parents = {each["name"]: each["parent"] for each in snapshots.list("web")}
    assert parents == {"1": None, "2": "1", "3": "2", "4": "1"}
    one = snapshots.info("web", "1")
    assert (one["children"], one["descendants"]) == (2, 3)
    assert finish(snapshots.delete("web")) == "2"
    assert snapshots.info("web")["name"] == "1"
    assert snapshots.info("web", "3")["parent"] == "1"
    assert finish(snapshots.delete("web", "1", children=True, itself=False)) == "1"
    assert [each["name"] for each in snapshots.list("web")] == ["1"]
    finish(snapshots.delete("web", "1", children=True))
    assert snapshots.list("web") == []
    with pytest.raises(ConfigError, match="machine web has no current snapshot"):
        snapshots.info("web")


def test_what_a_delete_forgets_is_no_more_in_the_images(snapshots: Snapshots, folder: Path) -> None:
    for name in ("2", "1"):
        snapshots.create("web", request(name))
        write(folder / "a.qcow2", 3)
    finish(snapshots.delete("web", "1"))
    assert names_in(folder / "a.qcow2") == names_in(folder / "b.qcow2") == ["2"]
    finish(snapshots.delete("web", "2", metadata_only=True))
    assert names_in(folder / "a.qcow2") == ["2"]
    holds(folder / "a.qcow2", 3)


def test_none_has_it_if_one_cannot(snapshots: Snapshots, folder: Path) -> None:
    storage.create_snapshot(folder / "b.qcow2", "one")
    before = (folder / "a.qcow2").read_bytes()
    with pytest.raises(ConfigError, match=r"disk vdb, .*/b.qcow2, has a snapshot 'one' already"):
        snapshots.create("web", request("one"))
    assert (folder / "a.qcow2").read_bytes() == before


def test_none_has_it_if_an_image_fails_on_the_way(
    snapshots: Snapshots, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = storage.create_snapshot

    def failing(path: Path, name: str) -> None:
        if path.name == "b.qcow2":
            raise KeyboardInterrupt
        real(path, name)

    monkeypatch.setattr(storage, "create_snapshot", failing)
    with pytest.raises(KeyboardInterrupt):
        snapshots.create("web", request("one"))
    assert names_in(folder / "a.qcow2") == []
    assert snapshots.list("web") == []


def test_raw_disks_cannot_and_are_named(snapshots: Snapshots, folder: Path) -> None:
    with Store(folder / "machines.sqlite") as store:
        store.put("web", ID, document(folder).replace(f"{folder}/b.qcow2", f"{folder}/b.raw").replace("qcow2", "raw"))
    (folder / "b.raw").write_bytes(bytes(MIB))
    (folder / "a.raw").write_bytes(bytes(MIB))
    with pytest.raises(
        ConfigError, match=r"is raw, and only qcow2 images hold snapshots; convert it, or .*--disk-only"
    ):
        snapshots.create("web", request("one"))
    snapshots.create("web", request("one"), disk_only=True)
    assert qemu_json("info", folder / "b.one")["backing-filename-format"] == "raw"


def test_a_disk_can_be_left_out(snapshots: Snapshots, folder: Path) -> None:
    more = f"<disks><disk name='{folder}/b.qcow2' snapshot='no'/><disk name='hda' snapshot='no'/></disks>"
    snapshots.create("web", request("one", more))
    assert (names_in(folder / "a.qcow2"), names_in(folder / "b.qcow2")) == (["one"], [])
    write(folder / "b.qcow2", 5)
    snapshots.revert("web", "one")
    holds(folder / "b.qcow2", 5)


def test_a_machine_that_runs_is_left_alone(snapshots: Snapshots, folder: Path) -> None:
    snapshots.create("web", request("one"))
    running = Registration("web")
    for attempt in (
        lambda: snapshots.create("web", request()),
        lambda: snapshots.revert("web", "one"),
        lambda: finish(snapshots.delete("web", "one")),
    ):
        with pytest.raises(HostError, match=r"machine web runs.*inn shutdown web|cannot reach a machine at .*/web/"):
            attempt()
    running.close()
    assert names_in(folder / "a.qcow2") == ["one"]


def test_disks_do_not_change_below_a_managed_save(snapshots: Snapshots, folder: Path) -> None:
    snapshots.create("web", request("one"))
    saved = managed_file(ID)
    saved.touch()
    write(folder / "a.qcow2", 2)
    for attempt in (
        lambda: snapshots.create("web", request(), disk_only=True),
        lambda: snapshots.revert("web", "one"),
        lambda: finish(snapshots.delete("web", "one")),
    ):
        with pytest.raises(HostError, match=r"machine web has a managed save.*inn managedsave-remove web"):
            attempt()
    holds(folder / "a.qcow2", 2)
    saved.unlink()
    snapshots.revert("web", "one")
