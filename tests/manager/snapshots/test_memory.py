"""Snapshots of a machine that runs, with its memory."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.manager.snapshots.web import MIB, holds, on_two_disks, request, write
from tests.storage.qemu import needs_qemu

from innkeeper import storage
from innkeeper.errors import ConfigError, HostError, ImageError
from innkeeper.manager import connect
from innkeeper.manager.service import Manager
from innkeeper.manager.snapshots import Snapshots
from innkeeper.manager.snapshots.drives import written_drives
from innkeeper.manager.snapshots.places import memory_files
from innkeeper.manager.storage.locks import users
from innkeeper.manager.storage.work import finish
from innkeeper.manager.store import Store
from innkeeper.testing.guests import SPIN, flat_guest

pytestmark = needs_qemu
LIMIT_S = 60.0


@pytest.fixture
def manager(user: Path) -> Iterator[Manager]:
    """With the machine `web`, which runs from a virtio disk and a SATA one."""
    with connect() as manager:
        manager.domains.define(on_two_disks(user, "qcow2"))
        manager.domains.start("web")
        yield manager


def identity(manager: Manager) -> UUID:
    return UUID(manager.domains.info("web")["uuid"])


def process_of(manager: Manager) -> int:
    return int(str(manager.domains.info("web")["id"]))


def inside(path: Path) -> list[str]:
    """The names of the snapshots within an image."""
    return [str(found["name"]) for found in storage.snapshots(path, share=True)]


def images(user: Path) -> list[Path]:
    return [user / f"{name}.qcow2" for name in ("vda", "sda")]


def known(manager: Manager | Snapshots) -> list[str]:
    snapshots = manager if isinstance(manager, Snapshots) else manager.snapshots
    return [each["name"] for each in snapshots.list("web")]


def journal() -> list[Any]:
    with Store() as store:
        return store.query("SELECT * FROM snapshot_journal")


def defined(manager: Manager) -> dict[str, Path | None]:
    """The files of its disks, by targets."""
    return {target: drive.path for target, drive in written_drives(manager.domains.xml("web")).items()}


def destroy(manager: Manager) -> None:
    """And returns once nobody has its disks open."""
    manager.domains.destroy("web")
    let_go(manager)


def let_go(manager: Manager) -> None:
    paths = [drive.file for drive in written_drives(manager.domains.xml("web")).values()]
    deadline = time.monotonic() + LIMIT_S
    while any(users(path) for path in paths):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_state(manager: Manager, state: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while manager.domains.state("web") != state:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_all_of_a_machine_goes_back_to_what_it_was(manager: Manager, user: Path) -> None:
    manager.snapshots.create("web", request("one"))
    assert manager.domains.state("web") == "running"
    found = manager.snapshots.info("web")
    assert (found["name"], found["state"], found["location"]) == ("one", "running", "internal")
    assert [inside(path) for path in images(user)] == [["one"], ["one"]]
    [memory] = memory_files(identity(manager))
    assert memory.stat().st_mode & 0o777 == 0o600

    first = process_of(manager)
    assert manager.snapshots.revert("web") == "one"
    assert manager.domains.state("web") == "running"
    assert process_of(manager) != first
    destroy(manager)
    for path in images(user):
        write(path, 2)
    manager.snapshots.revert("web", "one")
    assert manager.domains.state("web") == "running"
    destroy(manager)
    for path in images(user):
        holds(path, 1)
    finish(manager.snapshots.delete("web", "one"))
    assert not [*memory_files(identity(manager)), *journal(), *inside(user / "vda.qcow2")]


def test_what_stands_still_stands_still_again(manager: Manager) -> None:
    manager.domains.control("web", "suspend")
    wait_for_state(manager, "paused")
    manager.snapshots.create("web", request("one"))
    assert manager.domains.state("web") == manager.snapshots.info("web")["state"] == "paused"
    manager.domains.control("web", "resume")
    wait_for_state(manager, "running")
    for begin, state in ((None, "paused"), ("running", "running"), ("paused", "paused")):
        manager.snapshots.revert("web", "one", begin=begin)
        wait_for_state(manager, state)
    manager.domains.control("web", "resume")
    wait_for_state(manager, "running")


def test_it_ends_with_it_if_asked(manager: Manager, user: Path) -> None:
    finish(manager.snapshots.take("web", request("one"), ["halt"]))
    assert manager.domains.state("web") == "shut off"
    let_go(manager)
    for path in images(user):
        write(path, 2)
    manager.snapshots.revert("web", "one")
    assert manager.domains.state("web") == "running"
    finish(manager.snapshots.take("web", request("two"), ["halt", "disk-only"]))
    assert manager.domains.state("web") == "shut off"
    with pytest.raises(ConfigError, match="'quiet'; known are disk-only"):
        finish(manager.snapshots.take("web", request("three"), ["quiet"]))


def test_memory_may_be_in_a_file_and_what_is_written_in_overlays(manager: Manager, user: Path) -> None:
    before = defined(manager)
    external = f"<memory snapshot='external' file='{user}/memory'/>"
    manager.snapshots.create("web", request("one", external))
    found = manager.snapshots.info("web")
    assert (found["state"], found["location"]) == ("running", "external")
    assert sorted(path.name for path in user.glob("*.one")) == ["sda.one", "vda.one"]
    assert (user / "memory").exists()
    with pytest.raises(ConfigError, match="memory exists already"):
        manager.snapshots.create("web", request("two", external))
    destroy(manager)
    for path in user.glob("*.one"):
        write(path, 2)
    manager.snapshots.revert("web", "one")
    assert manager.domains.state("web") == "running"
    now = defined(manager)
    assert now == {"vda": user / "vda.one-1", "sda": user / "sda.one-1"}
    assert {disk["source"] for disk in manager.domains.control("web", "devices")["disks"]} == set(
        map(str, now.values())
    )
    destroy(manager)
    for overlay in now.values():
        assert overlay is not None
        holds(overlay, 1)
    finish(manager.snapshots.delete("web", "one"))
    assert defined(manager) == before
    assert not (user / "memory").exists()
    assert sorted(path.name for path in user.glob("*da.*")) == ["sda.qcow2", "vda.qcow2"]


def test_what_is_within_images_is_forgotten_while_the_machine_runs(manager: Manager, user: Path) -> None:
    for name in ("one", "two", "three"):
        manager.snapshots.create("web", request(name))
    finish(manager.snapshots.delete("web", "two"))
    assert known(manager) == ["one", "three"]
    assert sorted(inside(user / "sda.qcow2")) == ["one", "three"]
    assert len(memory_files(identity(manager))) == 2
    finish(manager.snapshots.delete("web", "one", children=True))
    assert not [*known(manager), *inside(user / "vda.qcow2"), *memory_files(identity(manager))]
    manager.snapshots.create("web", request("over"), disk_only=True)
    with pytest.raises(HostError, match="snapshot over has overlays, which are merged while it does not"):
        finish(manager.snapshots.delete("web", "over"))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("<memory snapshot='external' file='/nowhere/at/all'/>", "stays on its disks: .*there is no folder /nowhere"),
        ("<disks><disk name='sda' snapshot='no'/></disks>", "disk sda is left out, and memory goes on only with all"),
        (
            "<disks><disk name='sda' snapshot='external'/></disks>",
            "its memory goes into a file: name it with --memspec",
        ),
    ],
)
def test_what_cannot_be_is_refused(manager: Manager, user: Path, more: str, words: str) -> None:
    before = defined(manager)
    with pytest.raises((ConfigError, HostError), match=words):
        manager.snapshots.create("web", request("one", more))
    nothing_is_left(manager, user)
    assert defined(manager) == before


def nothing_is_left(manager: Manager, user: Path) -> None:
    assert manager.domains.state("web") == "running"
    assert not [*known(manager), *memory_files(identity(manager)), *journal()]
    assert inside(user / "vda.qcow2") == []
    assert sorted(path.name for path in user.glob("*da.*")) == ["sda.qcow2", "vda.qcow2"]


def test_all_have_it_or_none(manager: Manager, user: Path) -> None:
    destroy(manager)
    storage.create_snapshot(user / "vda.qcow2", "one")
    manager.domains.start("web")
    with pytest.raises(HostError, match=r'vda\.qcow2: it has a snapshot "one" already'):
        manager.snapshots.create("web", request("one"))
    destroy(manager)
    storage.delete_snapshot(user / "vda.qcow2", "one")
    manager.domains.start("web")
    nothing_is_left(manager, user)
    for path in images(user):
        assert inside(path) == []


def test_a_raw_disk_is_refused(manager: Manager, user: Path) -> None:
    (user / "raw").write_bytes(bytes(MIB))
    destroy(manager)
    manager.domains.define(manager.domains.xml("web").replace("vda.qcow2", "raw"))
    manager.domains.start("web")
    with pytest.raises(ConfigError, match=r"raw, is raw, and only qcow2 images hold snapshots; .*--memspec FILE"):
        manager.snapshots.create("web", request("one"))
    assert journal() == []


def test_a_machine_without_disks_has_its_memory_alone(user: Path) -> None:
    (user / "guest").write_bytes(flat_guest(SPIN))
    text = f"<os><type>hvm</type><kernel>{user}/guest</kernel></os>"
    with connect() as manager:
        manager.domains.define(f"<domain type='bt'><name>web</name><memory unit='MiB'>64</memory>{text}</domain>")
        manager.domains.start("web")
        manager.snapshots.create("web", request("one"))
        destroy(manager)
        manager.snapshots.revert("web", "one")
        assert manager.domains.state("web") == "running"
        finish(manager.snapshots.delete("web", "one"))
        assert memory_files(identity(manager)) == []


def test_a_snapshot_that_is_defined_again_has_its_memory(manager: Manager, user: Path) -> None:
    manager.snapshots.create("web", request("one"))
    document = manager.snapshots.xml("web", "one")
    finish(manager.snapshots.delete("web", "one", metadata_only=True))
    with pytest.raises(ConfigError, match="whose memory is there still"):
        manager.snapshots.create("web", request("one"))
    manager.snapshots.redefine("web", document, current=True)
    manager.snapshots.revert("web", "one")
    assert manager.domains.state("web") == "running"
    [memory] = memory_files(identity(manager))
    memory.write_bytes(b"no saved machine")
    with pytest.raises(ImageError, match="snapshot one has lost its memory"):
        manager.snapshots.revert("web", "one")
    assert manager.domains.state("web") == "running", "it was not given up for that"
    destroy(manager)
    with pytest.raises(ConfigError, match="has 1 snapshots"):
        manager.domains.undefine("web")
    gone = manager.domains.undefine("web", snapshots_metadata=True)
    assert gone["removed"] == [str(memory)]
    assert inside(user / "vda.qcow2") == ["one"]


def test_it_takes_the_place_of_a_managed_save(manager: Manager) -> None:
    manager.snapshots.create("web", request("one"))
    finish(manager.saves.managed_save("web"))
    manager.snapshots.revert("web", "one")
    assert manager.domains.state("web") == "running"
    assert not manager.domains.info("web")["managed_save"]


def test_a_save_of_a_machine_that_has_moved_is_of_its_overlays(manager: Manager, user: Path) -> None:
    manager.snapshots.create("web", request("one"), disk_only=True)
    finish(manager.saves.save("web", str(user / "saved")))
    assert "vda.one" in manager.saves.image_xml(str(user / "saved"))
    manager.saves.restore(str(user / "saved"))
    sources = {disk["source"] for disk in manager.domains.control("web", "devices")["disks"]}
    assert sources == {str(user / "vda.one"), str(user / "sda.one")}


def test_a_machine_goes_on_with_the_disc_that_was_put_in_last(manager: Manager, user: Path) -> None:
    manager.domains.destroy("web")
    drive = "<disk type='file' device='cdrom'><target dev='hda' bus='ide'/></disk></devices>"
    manager.domains.define(manager.domains.xml("web").replace("</devices>", drive))
    manager.domains.start("web")
    disc = user / "disc"
    disc.write_bytes(bytes(16 * 2048) + b"\x01CD001\x01" + bytes(2041) + b"\xffCD001\x01" + bytes(2041))
    manager.domains.control("web", "change-media", {"disk": "hda", "source": str(disc), "how": "insert"})
    manager.snapshots.create("web", request("one"))
    finish(manager.saves.save("web", str(user / "saved")))
    assert str(disc) in manager.saves.image_xml(str(user / "saved"))
    manager.saves.restore(str(user / "saved"))
    manager.domains.control("web", "change-media", {"disk": "hda", "source": None, "how": "eject", "force": True})
    manager.snapshots.revert("web", "one")
    sources = {disk["target"]: disk["source"] for disk in manager.domains.control("web", "devices")["disks"]}
    assert sources["hda"] == str(disc)
