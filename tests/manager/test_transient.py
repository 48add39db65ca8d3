"""Machines that run without being kept: known by all their names, forgotten when they end, kept if somebody wants that."""

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from innkeeper import storage
from innkeeper.config import MachineConfig
from innkeeper.config.machine import EngineChoice
from innkeeper.errors import ConfigError, HostError
from innkeeper.image.iso9660 import write_disc
from innkeeper.machine import Machine
from innkeeper.manager import connect, read_xml
from innkeeper.manager.domain_toml import read_toml
from innkeeper.manager.domains import check_transient
from innkeeper.manager.saves import Saves, managed_file
from innkeeper.manager.service import Manager
from innkeeper.manager.snapshots.drives import written_drives
from innkeeper.manager.snapshots.recovery import still
from innkeeper.manager.snapshots.table import SnapshotTable
from innkeeper.manager.storage.work import finish
from innkeeper.manager.store import Store
from innkeeper.testing.guests import SPIN, flat_guest

MIB = 1 << 20
UUID = "5f0c3a52-7b3e-4f39-9d7a-000000000001"
OTHER = UUID.replace("1", "2")
UUID_OF_WEB = uuid.UUID(UUID)
MAC = "52:54:00:00:00:01"
XML = """<domain type='bt'><name>{name}</name><uuid>{uuid}</uuid><title>one of them</title><memory unit='MiB'>16</memory>
<os><type>hvm</type><kernel>{folder}/guest</kernel></os><devices>
<disk><driver type='qcow2'/><source file='{folder}/{name}.qcow2'/><target dev='vda' bus='virtio'/></disk>
<disk device='cdrom'><target dev='hdc' bus='ide'/></disk>
<interface type='user'><mac address='52:54:00:00:00:01'/></interface></devices></domain>"""
MORE = "<disk><source file='{folder}/more'/></disk>"


@pytest.fixture
def manager(user: Path) -> Iterator[Manager]:
    """With what a machine `web` needs."""
    (user / "guest").write_bytes(flat_guest(SPIN))
    write_disc(user / "disc", "DISC", {"a": b"a"})
    (user / "more").write_bytes(bytes(MIB))
    storage.create(user / "web.qcow2", MIB, image_format="qcow2")
    with connect() as manager:
        yield manager


@pytest.fixture
def xml(user: Path) -> str:
    return XML.format(name="web", uuid=UUID, folder=user)


def listed(manager: Manager) -> list[tuple[str, str | None, bool]]:
    return [(each["name"], each["uuid"], each["persistent"]) for each in manager.domains.all()]


def test_a_transient_machine_is_known_by_its_name_its_uuid_and_its_process(manager: Manager, xml: str) -> None:
    manager.domains.create(xml)
    [web] = manager.domains.all(titles=True)
    assert (web["name"], web["uuid"], web["title"], web["persistent"]) == ("web", UUID, "one of them", False)
    for word in ("web", UUID, UUID.upper(), str(web["id"])):
        info = manager.domains.info(word)
        assert (info["name"], info["uuid"], info["persistent"], info["autostart"]) == ("web", UUID, False, False)
        assert (info["memory_kib"], info["title"]) == (16 << 10, "one of them")
        assert manager.domains.state(word) == "running"
        for document in (
            manager.domains.xml(word),
            manager.hardware.xml(word),
            manager.hardware.xml(word, inactive=True),
        ):
            assert read_xml(document) == read_xml(manager.domains.xml("web"))
        assert str(read_toml(manager.domains.toml(word)).uuid) == UUID
        assert manager.descriptions.domain(word)["title"] == "one of them"
        assert [card["mac"] for card in manager.hardware.cards(word, inactive=True)] == [MAC]
        assert [disk["target"] for disk in manager.hardware.disks(word, inactive=True)] == ["vda", "hdc"]
        assert manager.hardware.vcpu_counts(word) == {"live": {"maximum": 1, "current": 1}, "config": None}
        assert manager.snapshots.list(word) == []
    with pytest.raises(HostError, match="machine web runs already"):
        manager.domains.start(UUID)
    manager.domains.destroy(UUID)
    assert manager.domains.all() == []
    with pytest.raises(ConfigError, match="there is no machine"):
        manager.domains.info(UUID)


def test_a_manager_that_starts_anew_knows_it_too(manager: Manager, xml: str, user: Path) -> None:
    manager.domains.create(xml)
    os.kill(int((user / "run/innkeeper/manager.lock").read_text()), signal.SIGKILL)
    with connect() as second:
        assert listed(second) == [("web", UUID, False)]
        assert second.domains.info(UUID)["name"] == "web"


CHANGES: list[Callable[[Manager], object]] = [
    lambda m: m.domains.definition("web"),
    lambda m: m.domains.undefine(UUID),
    lambda m: m.domains.autostart("web", on=True),
    lambda m: m.descriptions.describe_domain("web", "title", "another"),
    lambda m: m.descriptions.rename("web", "other"),
    lambda m: m.hardware.set_memory("web", 8 << 10, ["config"]),
    lambda m: m.hardware.set_vcpus("web", 2, ["config"], maximum=True),
    lambda m: m.hardware.set_link("web", MAC, ["live", "config"], up=False),
    lambda m: m.hardware.detach("web", f"<interface><mac address='{MAC}'/></interface>", ["persistent"]),
    lambda m: m.saves.managed_save_remove("web"),
    lambda m: m.saves.managed_xml("web"),
    lambda m: m.snapshots.create("web", "<domainsnapshot/>"),
    lambda m: m.snapshots.set_current("web", "a"),
    lambda m: m.snapshots.revert("web", "a"),
    lambda m: finish(m.snapshots.delete("web", "a")),
    lambda m: finish(m.blocks.pull_still("web", "vda")),
]


def test_a_definition_that_is_not_there_is_not_changed(manager: Manager, xml: str) -> None:
    manager.domains.create(xml)
    before = manager.hardware.xml("web")
    for change in CHANGES:
        with pytest.raises(ConfigError, match=r"machine web is transient: .* inn dumpxml web shows"):
            change(manager)
    with pytest.raises(ConfigError, match="has no next start; inn save web"):
        finish(manager.saves.managed_save(UUID))
    assert manager.hardware.xml("web") == before


@pytest.mark.parametrize("kept", [False, True])
def test_the_document_of_what_runs_says_what_was_changed(manager: Manager, xml: str, user: Path, *, kept: bool) -> None:
    if kept:
        manager.domains.define(xml)
        manager.domains.start("web")
    else:
        manager.domains.create(xml)
    manager.hardware.attach("web", MORE.format(folder=user), ["live"])
    manager.hardware.change_media("web", "hdc", str(user / "disc"), "insert", ["live"])
    manager.hardware.set_link("web", MAC, ["live"], up=False)
    machine = read_xml(manager.hardware.xml("web")).machine
    paths = {disk.target: disk.path for disk in machine.disks}
    assert paths == {"vda": user / "web.qcow2", "hdc": user / "disc", "vdb": user / "more"}
    assert [network.link for network in machine.networks] == ["down"]
    before = read_xml(manager.hardware.xml("web", inactive=True)).machine
    assert len(before.disks) == (2 if kept else 3)
    manager.hardware.change_media("web", "hdc", None, "eject", ["live"])
    manager.hardware.set_link("web", MAC, ["live"], up=True)
    machine = read_xml(manager.hardware.xml("web")).machine
    assert (machine.disks[1].path, machine.networks[0].link) == (None, "up")
    if not kept:
        manager.domains.define(manager.hardware.xml("web"))
        assert listed(manager) == [("web", UUID, True)]
        assert list(written_drives(manager.domains.definition("web"))) == ["vda", "vdb"]


def test_what_was_undefined_runs_on_until_it_ends(manager: Manager, xml: str) -> None:
    assert manager.domains.all() == []
    with connect() as watcher:
        events = watcher.events.watch()
        assert next(events) is None
        manager.domains.define(xml)
        manager.domains.autostart("web", on=True)
        process = manager.domains.start("web")
        gone = manager.domains.undefine("web")
        assert gone == {"name": "web", "runs": True, "removed": [], "failed": {}}
        assert listed(manager) == [("web", UUID, False)]
        info = manager.domains.info(UUID)
        assert (info["id"], info["state"], info["persistent"], info["autostart"]) == (process, "running", False, False)
        assert manager.hardware.suspend("web") == "web"
        manager.domains.destroy("web")
        assert manager.domains.all() == []
        seen: list[str] = []
        while "stopped" not in seen:
            event = next(events)
            seen += [event["what"]] if event is not None else []
    assert seen == ["defined", "started", "undefined", "suspended", "stopped"]
    assert manager.domains.define(xml)["new"]
    assert not manager.domains.info("web")["autostart"]


def test_files_in_use_are_not_removed(manager: Manager, xml: str, user: Path) -> None:
    manager.domains.define(xml)
    manager.domains.start("web")
    for files in ({"storage": True}, {"disks": ["vda"]}, {"nvram": True}):
        with pytest.raises(
            HostError, match="uses the files that are to be removed; end it first, with inn destroy web"
        ):
            manager.domains.undefine("web", **files)
    assert listed(manager) == [("web", UUID, True)]
    assert (user / "web.qcow2").exists()


def test_snapshots_are_not_forgotten_unasked(manager: Manager, xml: str) -> None:
    manager.domains.define(xml)
    manager.snapshots.create("web", "<domainsnapshot><name>a</name></domainsnapshot>")
    manager.domains.start("web")
    with pytest.raises(ConfigError, match="has 1 snapshots"):
        manager.domains.undefine("web")
    manager.domains.undefine("web", snapshots_metadata=True)
    assert listed(manager) == [("web", UUID, False)]
    assert manager.snapshots.list("web") == []


def test_what_runs_is_kept_again_by_its_name_and_uuid_alone(manager: Manager, xml: str) -> None:
    manager.domains.define(xml)
    process = manager.domains.start("web")
    manager.domains.undefine("web")
    with pytest.raises(ConfigError, match=f"a machine named web runs already, with UUID {UUID}"):
        manager.domains.define(xml.replace(UUID, OTHER))
    with pytest.raises(ConfigError, match=f"UUID {UUID} is that of machine web, which runs"):
        manager.domains.define(xml.replace(">web<", ">other<"))
    with pytest.raises(ConfigError, match=f"UUID {UUID} is that of machine web, which runs"):
        manager.domains.create(xml.replace(">web<", ">other<"))
    with pytest.raises(HostError, match="runs already"):
        manager.domains.create(xml)
    assert manager.domains.define(xml)["new"]
    assert listed(manager) == [("web", UUID, True)]
    assert manager.domains.info("web")["id"] == process
    manager.domains.autostart("web", on=True)
    manager.domains.destroy("web")
    assert listed(manager) == [("web", UUID, True)]


def test_a_transient_machine_is_saved_and_restored(manager: Manager, xml: str, user: Path) -> None:
    xml = xml.replace("<disk device='cdrom'><target dev='hdc' bus='ide'/></disk>", "")
    manager.domains.create(xml)
    finish(manager.saves.save("web", str(user / "saved"), xml=manager.hardware.xml("web")))
    assert manager.domains.all() == []
    manager.domains.define(xml.replace(UUID, OTHER))
    with pytest.raises(ConfigError, match="undefine that one first"):
        manager.saves.restore(str(user / "saved"))
    manager.domains.undefine("web")
    manager.saves.restore(str(user / "saved"))
    assert listed(manager) == [("web", UUID, False)]


def test_a_machine_of_inn_run_has_no_document(manager: Manager, user: Path) -> None:
    config = MachineConfig(name="tool", memory_mib=16, engine=EngineChoice.BT, kernel=user / "guest")
    with Machine(config) as machine:
        machine.start()
        assert listed(manager) == [("tool", None, False)]
        assert manager.domains.state("tool") == "running"
        with pytest.raises(HostError, match="machine tool was started by inn run, so no document describes it"):
            manager.domains.info("tool")
        with pytest.raises(ConfigError, match="machine tool is transient"):
            manager.domains.undefine("tool")


def test_a_machine_in_the_middle_of_something_is_not_undefined(
    manager: Manager, xml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.domains.define(xml)
    manager.domains.start("web")
    with Store() as store:
        table = SnapshotTable(store, store.get("web"))
        check_transient(table, files=False)
        number = table.note("live", {})
        with pytest.raises(HostError, match="its disks are being changed; undefine it when that is done"):
            manager.domains.undefine("web")
        table.forget(number)
        monkeypatch.setattr("innkeeper.manager.domains.ask", lambda *_, **__: [1, 2, 3])
        with pytest.raises(HostError, match="machine web is being saved"):
            check_transient(table, files=False)
    monkeypatch.undo()
    manager.domains.undefine("web")


def test_a_machine_whose_disks_are_being_changed_while_it_is_shut_off_is_not_undefined(
    manager: Manager, xml: str
) -> None:
    manager.domains.define(xml)
    busy = "is about to start or to end, or busy with snapshots; try again"
    with Store() as store, still(store, store.get("web")), pytest.raises(HostError, match=busy):
        manager.domains.undefine("web")
    assert listed(manager) == [("web", UUID, True)]


def test_a_managed_save_whose_machine_was_undefined_meanwhile_is_not_lost(
    xml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store() as store:
        store.put("web", UUID_OF_WEB, xml)

    def written(*_: object, **__: object) -> Iterator[None]:
        with Store() as store:
            store.remove("web")
        yield from ()

    monkeypatch.setattr(Saves, "_written", written)
    saves = Saves(SimpleNamespace(running_name=lambda name: name))  # type: ignore[arg-type]
    with pytest.raises(HostError, match=f"inn restore {managed_file(UUID_OF_WEB)} goes on with it"):
        finish(saves.managed_save("web"))
