"""Overlays for a machine that runs, by its control socket."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.manager.snapshots.web import MIB, holds, on_two_disks, request, write
from tests.storage.qemu import needs_qemu

from innkeeper import storage
from innkeeper.errors import ConfigError, HostError
from innkeeper.machine.control import ask
from innkeeper.manager import connect
from innkeeper.manager.service import Manager
from innkeeper.manager.snapshots import Snapshots
from innkeeper.manager.snapshots.drives import written_drives
from innkeeper.manager.storage.locks import users
from innkeeper.manager.storage.work import finish
from innkeeper.manager.store import Store

pytestmark = needs_qemu


@pytest.fixture
def manager(user: Path) -> Iterator[Manager]:
    """With the machine `web`, which runs from a virtio disk and a SATA one."""
    with connect() as manager:
        manager.domains.define(on_two_disks(user, "qcow2"))
        manager.domains.start("web")
        yield manager


def on(manager: Manager) -> dict[str, str]:
    """The files that the machine runs from."""
    return {disk["target"]: disk["source"] for disk in manager.domains.control("web", "devices")["disks"]}


def defined(manager: Manager) -> dict[str, str]:
    return {target: str(drive.path) for target, drive in written_drives(manager.domains.xml("web")).items()}


def test_a_running_machine_moves_onto_overlays(manager: Manager, user: Path) -> None:
    assert manager.snapshots.create("web", request("one"), disk_only=True)["name"] == "one"
    tops = {"vda": str(user / "vda.one"), "sda": str(user / "sda.one")}
    assert on(manager) == defined(manager) == tops
    found = manager.snapshots.info("web")
    assert (found["name"], found["state"], found["location"]) == ("one", "disk-snapshot", "external")
    manager.snapshots.create("web", request("two", "<disks><disk name='sda' snapshot='no'/></disks>"), disk_only=True)
    assert on(manager) == defined(manager) == tops | {"vda": str(user / "vda.two")}
    manager.domains.destroy("web")
    begun = time.monotonic()
    while users(user / "vda.two") and time.monotonic() < begun + 20:
        time.sleep(0.01)
    write(user / "vda.two", 2)
    manager.domains.start("web")
    manager.domains.destroy("web")
    finish(manager.snapshots.delete("web", "two"))
    assert manager.snapshots.revert("web", "one") == "one"
    for path in map(Path, defined(manager).values()):
        holds(path, 1)
    finish(manager.snapshots.delete("web", "one"))
    assert sorted(path.name for path in user.glob("*da.*")) == ["sda.qcow2", "vda.qcow2"]


def test_a_disk_that_is_not_there_is_refused(manager: Manager) -> None:
    with pytest.raises(ConfigError, match="no disk 'vdz'"):
        manager.snapshots.create("web", request("one", "<disks><disk name='vdz'/></disks>"), disk_only=True)


def test_it_stays_where_it_is_if_an_overlay_cannot_be(manager: Manager, user: Path) -> None:
    before, runs = defined(manager), on(manager)
    storage.create(user / "mine", 4 * MIB, image_format="qcow2")
    more = f"<disks><disk name='vda'><source file='{user}/mine'/></disk></disks>"
    with pytest.raises(ConfigError, match="mine exists already"):
        manager.snapshots.create("web", request("one", more), disk_only=True)
    with pytest.raises(HostError, match="does not lie over"):
        manager.snapshots.create("web", request("one", more), disk_only=True, reuse=True)
    (user / "elsewhere.qcow2").touch()
    manager.domains.define(manager.domains.xml("web").replace("vda.qcow2", "elsewhere.qcow2"))
    with pytest.raises(
        HostError, match=r"vda of machine web is .*elsewhere.qcow2 in its definition.*shut it off first"
    ):
        manager.snapshots.create("web", request("one"), disk_only=True)
    manager.domains.define(manager.domains.xml("web").replace("elsewhere.qcow2", "vda.qcow2"))
    assert (defined(manager), on(manager)) == (before, runs)
    assert sorted(path.name for path in user.glob("*da.*")) == ["sda.qcow2", "vda.qcow2"]


@pytest.mark.parametrize("moment", ["before", "after", "ended"])
def test_a_manager_that_is_killed_on_the_way_leaves_what_is_true(
    manager: Manager, user: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    process = int(str(next(each["id"] for each in manager.domains.all())))
    real = ask

    def cut(path: Path, do: str, **values: Any) -> object:
        if do != "lay-overlays":
            return real(path, do, **values)
        if moment == "after":
            real(path, do, **values)
        if moment == "ended":
            os.kill(process, signal.SIGKILL)
        raise SystemExit

    with monkeypatch.context() as patched, pytest.raises(SystemExit):  # noqa: PT012
        patched.setattr("innkeeper.manager.snapshots.live.ask", cut)
        Snapshots().create("web", request("one"), disk_only=True)
    if moment == "ended":
        while manager.domains.state("web") == "running":
            pass
    assert "one" in defined(manager)["vda"], "the definition leads, so that nothing that is written is lost"
    snapshots = Snapshots()
    with Store() as store:
        assert store.query("SELECT * FROM snapshot_journal") == []
    if moment == "before":
        assert on(manager) == defined(manager) == {name: str(user / f"{name}.qcow2") for name in ("vda", "sda")}
        assert (snapshots.list("web"), list(user.glob("*.one"))) == ([], [])
    else:
        assert [each["name"] for each in snapshots.list("web")] == ["one"]
        assert defined(manager)["sda"] == str(user / "sda.one")
