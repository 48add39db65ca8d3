"""Chains of images made shorter, and disks copied, of machines that run and of those that are shut off."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.manager.snapshots.web import MIB, holds, on_two_disks, request, write
from tests.storage.qemu import needs_qemu

from innkeeper import storage
from innkeeper.errors import ConfigError, HostError
from innkeeper.machine.control import ask
from innkeeper.manager import connect
from innkeeper.manager.block_jobs import Blocks
from innkeeper.manager.service import Manager
from innkeeper.manager.snapshots import Snapshots, moving
from innkeeper.manager.snapshots.drives import written_drives
from innkeeper.manager.storage.locks import users
from innkeeper.manager.storage.work import finish
from innkeeper.manager.store import Store

pytestmark = needs_qemu
LIMIT_S = 60.0


@pytest.fixture
def manager(user: Path) -> Iterator[Manager]:
    """With the machine `web`, shut off, whose disks have the images base, one, two, three over each other; the second MiB of each is its own."""
    with connect() as manager:
        manager.domains.define(on_two_disks(user, "base", "<driver type='qcow2'/>"))
        for number, name in enumerate(("one", "two", "three")):
            manager.snapshots.create("web", request(name), disk_only=True, metadata=False)
            write(user / f"vda.{name}", number + 2)
        yield manager


def chain(manager: Manager, target: str = "vda") -> list[str]:
    """The names of the images that the machine runs from."""
    disks = {disk["target"]: disk["chain"] for disk in manager.domains.control("web", "devices")["disks"]}
    return [Path(each).name for each in disks[target]]


def defined(manager: Manager, target: str = "vda") -> str:
    return Path(str(written_drives(manager.domains.xml("web"))[target].path)).name


def ended(manager: Manager, disk: str = "vda", state: str | None = None) -> dict[str, Any]:
    """Once the disk has no job, or it is in this state."""
    deadline = time.monotonic() + LIMIT_S
    while (now := manager.blocks.info("web", disk))["state"] != state:
        assert time.monotonic() < deadline, now
        time.sleep(0.02)
    return dict(now)


def shut_off(manager: Manager, *files: Path) -> None:
    manager.domains.destroy("web")
    deadline = time.monotonic() + LIMIT_S
    while any(users(file) for file in files):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_lies_below_is_pulled_while_the_machine_runs(manager: Manager, user: Path) -> None:
    manager.domains.start("web")
    assert chain(manager) == ["vda.three", "vda.two", "vda.one", "vda.base"]
    number = manager.blocks.pull("web", "vda", base=str(user / "vda.base"))
    assert ended(manager)["ended"] == number
    assert chain(manager) == ["vda.three", "vda.base"]
    manager.blocks.pull("web", str(user / "vda.three"))
    assert ended(manager)["outcome"] == "completed"
    assert chain(manager) == ["vda.three"]
    with pytest.raises(HostError, match="nothing lies below disk vda that could be pulled"):
        manager.blocks.pull("web", "vda")
    manager.blocks.pull("web", "sda", base="sda[2]")
    assert ended(manager, "sda")["outcome"] == "completed"
    assert chain(manager, "sda") == ["sda.three", "sda.one", "sda.base"]
    shut_off(manager, user / "vda.three")
    for name in ("base", "one", "two"):
        (user / f"vda.{name}").unlink()
    holds(user / "vda.three", 4)
    assert defined(manager) == "vda.three"


def test_images_in_the_middle_are_committed_while_the_machine_runs(manager: Manager, user: Path) -> None:
    manager.domains.start("web")
    one, two = str(user / "vda.one"), str(user / "vda.two")
    manager.blocks.commit("web", "vda", top=two, base=one, delete=True)
    assert ended(manager)["outcome"] == "completed"
    assert chain(manager) == ["vda.three", "vda.one", "vda.base"]
    assert not (user / "vda.two").exists()
    manager.blocks.commit("web", "vda", top=one, keep_relative=True)
    assert ended(manager)["outcome"] == "completed"
    assert chain(manager) == ["vda.three", "vda.base"]
    shut_off(manager, user / "vda.three")
    (user / "vda.one").unlink()
    holds(user / "vda.base", 3)
    holds(user / "vda.three", 4)
    assert storage.info(user / "vda.three")["backing-filename"] == "vda.base"


@pytest.mark.parametrize("disk", ["vda", "sda"])
def test_the_image_in_use_is_committed_and_the_machine_moves(manager: Manager, user: Path, disk: str) -> None:
    manager.domains.start("web")
    with pytest.raises(ConfigError, match="is the image in use, which its machine goes on to write: add --active"):
        manager.blocks.commit("web", disk)
    manager.blocks.commit("web", disk, active=True, shallow=True)
    assert ended(manager, disk, "ready")["kind"] == "active-commit"
    with pytest.raises(HostError, match="has a block job"):
        manager.blocks.pull("web", disk)
    with pytest.raises(HostError, match="has a block job"):
        manager.snapshots.create("web", request("four"), disk_only=True, metadata=False)
    with pytest.raises(HostError, match=f"cannot save a machine with a block job of disk {disk}"):
        finish(manager.saves.save("web", str(user / "saved")))
    assert defined(manager, disk) == f"{disk}.three"
    manager.blocks.pivot("web", disk)
    assert chain(manager, disk) == [f"{disk}.two", f"{disk}.one", f"{disk}.base"]
    assert defined(manager, disk) == f"{disk}.two"
    manager.blocks.commit("web", disk, active=True, delete=True)
    ended(manager, disk, "ready")
    manager.blocks.pivot("web", disk)
    assert chain(manager, disk) == [f"{disk}.base"]
    assert defined(manager, disk) == f"{disk}.base"
    shut_off(manager, user / f"{disk}.base")
    assert sorted(path.name for path in user.glob(f"{disk}.*")) == [f"{disk}.base", f"{disk}.three"]
    holds(user / f"{disk}.base", 4 if disk == "vda" else 1)


def test_a_machine_that_stays_is_where_it_was(manager: Manager, user: Path) -> None:
    manager.domains.start("web")
    manager.blocks.commit("web", "vda", active=True)
    ended(manager, state="ready")
    manager.blocks.abort("web", "vda")
    assert chain(manager) == ["vda.three", "vda.two", "vda.one", "vda.base"]
    with pytest.raises(HostError, match="disk vda has no block job"):
        manager.blocks.pivot("web", "vda")
    manager.blocks.commit("web", "vda", active=True, bandwidth=1024)
    with pytest.raises(HostError, match="disk vda cannot move yet"):
        manager.blocks.pivot("web", "vda")
    manager.blocks.abort("web", "vda")
    assert ended(manager)["outcome"] == "aborted"
    assert defined(manager) == "vda.three"
    shut_off(manager, user / "vda.three")
    holds(user / "vda.three", 4)


@pytest.mark.parametrize("shallow", [False, True])
def test_a_disk_is_copied_and_the_machine_moves(manager: Manager, user: Path, shallow: bool) -> None:
    manager.domains.start("web")
    with pytest.raises(ConfigError, match=r"vda\.base exists already"):
        manager.blocks.copy("web", "vda", str(user / "vda.base"))
    with pytest.raises(ConfigError, match="its format must be qcow2"):
        manager.blocks.copy("web", "vda", str(user / "copy"), shallow=True, image_format="raw")
    manager.blocks.copy("web", "vda", str(user / "copy"), shallow=shallow)
    ended(manager, state="ready")
    manager.blocks.pivot("web", "vda")
    assert chain(manager) == (["copy", "vda.two", "vda.one", "vda.base"] if shallow else ["copy"])
    assert defined(manager) == "copy"
    storage.create(user / "raw", 4 * MIB, image_format="raw")
    manager.blocks.copy("web", "sda", str(user / "raw"), image_format="raw", reuse=True)
    ended(manager, "sda", "ready")
    manager.blocks.abort("web", "sda")
    assert defined(manager, "sda") == "sda.three"
    shut_off(manager, user / "copy")
    holds(user / "copy", 4)
    assert (user / "raw").read_bytes()[MIB : 2 * MIB] == b"\1" * MIB


def test_what_a_snapshot_keeps_is_not_written(manager: Manager, user: Path) -> None:
    manager.snapshots.create("web", request("kept"), disk_only=True)
    manager.domains.start("web")
    said = "snapshot kept of machine web keeps what .*vda.three holds now.*snapshot-delete web kept --metadata"
    with pytest.raises(ConfigError, match=said):
        manager.blocks.commit("web", "vda", active=True)
    manager.blocks.pull("web", "vda")
    assert ended(manager)["outcome"] == "completed"
    shut_off(manager, user / "vda.kept")
    with pytest.raises(ConfigError, match=said.replace("vda", "sda")):
        finish(manager.blocks.commit_still("web", "sda"))
    finish(manager.snapshots.delete("web", "kept", metadata_only=True))
    finish(manager.blocks.commit_still("web", "sda"))
    assert defined(manager, "sda") == "sda.base"
    holds(user / "vda.kept", 4)


def test_chains_of_a_machine_that_is_shut_off_are_made_shorter(manager: Manager, user: Path) -> None:
    finish(manager.blocks.commit_still("web", "vda", top=str(user / "vda.two"), shallow=True, delete=True))
    assert not (user / "vda.two").exists()
    holds(user / "vda.one", 3)
    holds(user / "vda.three", 4)
    finish(manager.blocks.commit_still("web", "vda", keep_overlay=True, base=str(user / "vda.one")))
    assert defined(manager) == "vda.three"
    holds(user / "vda.one", 4)
    finish(manager.blocks.pull_still("web", "sda", base="sda[3]"))
    assert storage.info(user / "sda.three")["backing-filename"] == str(user / "sda.base")
    finish(manager.blocks.pull_still("web", "sda"))
    (user / "sda.base").unlink()
    holds(user / "sda.three", 1)
    with pytest.raises(ConfigError, match="nothing lies below disk sda"):
        finish(manager.blocks.pull_still("web", "sda"))
    finish(manager.blocks.commit_still("web", "vda", delete=True))
    assert defined(manager) == "vda.base"
    assert (
        sorted(path.name for path in user.glob("vda.*")) == ["vda.base", "vda.two"] or not (user / "vda.three").exists()
    )
    holds(user / "vda.base", 4)


@pytest.mark.parametrize("moment", ["before", "after", "ended before", "ended after"])
def test_a_manager_that_is_killed_while_a_machine_moves_leaves_what_is_true(
    manager: Manager, user: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    manager.domains.start("web")
    manager.blocks.commit("web", "vda", active=True)
    ended(manager, state="ready")
    process = int(str(next(each["id"] for each in manager.domains.all())))
    real = ask

    def cut(path: Path, do: str, **values: Any) -> object:
        if do != "block-abort":
            return real(path, do, **values)
        if "after" in moment:
            real(path, do, **values)
        if "ended" in moment:
            os.kill(process, signal.SIGKILL)
        raise SystemExit

    with monkeypatch.context() as patched, Store() as store, pytest.raises(SystemExit):  # noqa: PT012
        from innkeeper.manager.snapshots.table import SnapshotTable

        patched.setattr("innkeeper.manager.snapshots.moving.ask", cut)
        moving.move(SnapshotTable(store, store.get("web")), "vda")
    with Store() as store:
        assert store.query("SELECT action FROM snapshot_journal") == [("pivot",)]
    while "ended" in moment and manager.domains.state("web") != "shut off":
        time.sleep(0.02)
    Snapshots()  # as the next manager does
    with Store() as store:
        assert store.query("SELECT action FROM snapshot_journal") == []
    if "ended" in moment:
        assert defined(manager) == "vda.base"
        holds(user / "vda.base", 4)
    else:
        assert defined(manager) == chain(manager)[0] == ("vda.base" if moment == "after" else "vda.three")
        shut_off(manager, user / defined(manager))
        holds(user / defined(manager), 4)


def test_a_commit_that_was_cut_is_finished(manager: Manager, user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched, pytest.raises(SystemExit):  # noqa: PT012
        patched.setattr("innkeeper.manager.snapshots.moving.with_files", cut)
        finish(Blocks(object(), Snapshots()).commit_still("web", "vda", delete=True))  # type: ignore[arg-type]
    with Store() as store:
        assert store.query("SELECT action FROM snapshot_journal") == [("commit",)]
    Snapshots()
    assert defined(manager) == "vda.base"
    assert sorted(path.name for path in user.glob("vda.*")) == ["vda.base"]
    holds(user / "vda.base", 4)


def test_a_machine_that_is_killed_in_the_middle_loses_nothing(manager: Manager, user: Path) -> None:
    blocks = manager.blocks
    begins: tuple[Callable[[], int], ...] = (
        lambda: blocks.commit("web", "vda", active=True, bandwidth=1),
        lambda: blocks.pull("web", "vda", bandwidth=1),
        lambda: blocks.copy("web", "vda", str(user / "copy"), bandwidth=1),
        lambda: blocks.commit("web", "vda", top="vda[1]", bandwidth=1),
    )
    for begin in begins:
        manager.domains.start("web")
        begin()
        process = int(str(next(each["id"] for each in manager.domains.all())))
        os.kill(process, signal.SIGKILL)
        while manager.domains.state("web") != "shut off":
            time.sleep(0.02)
        assert defined(manager) == "vda.three"
        holds(user / "vda.three", 4)


def test_a_transient_machine_moves_too(manager: Manager) -> None:
    xml = manager.domains.xml("web")
    manager.domains.undefine("web")
    manager.domains.create(xml)
    manager.blocks.commit("web", "vda", active=True)
    ended(manager, state="ready")
    manager.blocks.pivot("web", "vda")
    assert chain(manager) == ["vda.base"]


def test_disks_whose_requests_fail_are_named(manager: Manager) -> None:
    manager.domains.start("web")
    assert manager.blocks.errors("web") == []
