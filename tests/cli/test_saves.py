"""Kept machines saved and restored, with virsh's words, through the manager's daemon."""

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from innkeeper.cli import main
from innkeeper.machine.names import Registration
from innkeeper.manager import connect, read_xml
from innkeeper.storage.images import create
from innkeeper.testing.guests import SPIN, flat_guest

XML = """<domain type='bt'><name>{}</name><memory unit='MiB'>64</memory><os><type>hvm</type><kernel>{}</kernel></os>
<devices><disk type='file'><driver name='qemu' type='qcow2'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>
</devices></domain>"""


@pytest.fixture
def web(user: Path) -> Path:
    """A machine that runs and does nothing. Gives its folder."""
    (user / "guest").write_bytes(flat_guest(SPIN))
    (user / "web.xml").write_text(XML.format("web", user / "guest", user / "disk.qcow2"))
    create(user / "disk.qcow2", 1 << 20, image_format="qcow2")
    assert main(["define", str(user / "web.xml")]) == 0
    assert main(["start", "web"]) == 0
    return user


def state() -> str:
    with connect() as manager:
        return manager.domains.state("web")


def test_a_machine_is_saved_to_a_file_and_restored(web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = web / "saved"
    assert main(["virsh", "save", "web", str(file)]) == 0
    assert f"Domain 'web' saved to {file}" in capsys.readouterr().out
    assert state() == "shut off"
    assert main(["virsh", "save-image-dumpxml", str(file)]) == 0
    assert read_xml(capsys.readouterr().out).name == "web"
    assert main(["virsh", "restore", str(file)]) == 0
    assert f"Domain restored from {file}" in capsys.readouterr().out
    assert state() == "running"
    assert main(["restore", str(file)]) == 2
    assert "machine web runs already" in capsys.readouterr().err
    assert main(["save", "web", str(web / "no" / "where")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert state() == "running"


MAC = "52:54:00:00:00:07"
CDROM = "<disk type='file' device='cdrom'><source file='{}'/><target dev='hda' bus='ide'/></disk></devices>"
ISO = bytes(16 * 2048) + b"\x01CD001\x01".ljust(2048, b"\0") + bytes(2048)  # as little of one as shows what it is


def now() -> tuple[list[tuple[str, str]], list[str]]:
    """The running machine's disks, and the addresses of its cards."""
    with connect() as manager:
        disks = [(disk["target"], Path(disk["source"]).name) for disk in manager.hardware.disks("web")]
        return disks, [card["mac"] for card in manager.hardware.cards("web")]


def test_what_was_plugged_in_goes_with_a_saved_machine_and_no_further(
    web: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, more = str(web / "saved"), web / "more.qcow2"
    create(more, 1 << 20, image_format="qcow2")
    assert main(["virsh", "attach-disk", "web", str(more), "vdb", "--live"]) == 0
    assert main(["virsh", "attach-interface", "web", "--type", "user", "--mac", MAC, "--live"]) == 0
    changed = ([("vda", "disk.qcow2"), ("vdb", "more.qcow2")], [MAC])
    assert now() == changed

    assert main(["save", "web", file]) == 0
    capsys.readouterr()
    assert main(["save-image-dumpxml", file]) == 0
    machine = read_xml(capsys.readouterr().out).machine
    assert [(disk.target, disk.slot) for disk in machine.disks] == [
        ("vda", 2),
        ("vdb", 4),
    ]  # the balloon is between them
    assert [(card.mac, card.slot) for card in machine.networks] == [(MAC, 5)]
    assert main(["restore", file]) == 0
    assert now() == changed
    assert main(["managedsave", "web"]) == 0
    assert main(["start", "web"]) == 0
    assert now() == changed

    assert main(["destroy", "web"]) == 0
    assert main(["start", "web"]) == 0
    assert now() == ([("vda", "disk.qcow2")], [])


def test_discs_are_those_that_are_in_their_drives(user: Path) -> None:
    (user / "guest").write_bytes(flat_guest(SPIN))
    for name in ("disc.iso", "other.iso"):
        (user / name).write_bytes(ISO)
    create(user / "disk.qcow2", 1 << 20, image_format="qcow2")
    xml = XML.format("web", user / "guest", user / "disk.qcow2")
    (user / "web.xml").write_text(xml.replace("</devices>", CDROM.format(user / "disc.iso")))
    assert main(["define", str(user / "web.xml")]) == 0
    assert main(["start", "web"]) == 0
    for words, name in ((["--eject"], ""), (["--insert", str(user / "other.iso")], "other.iso")):
        assert main(["change-media", "web", "hda", *words, "--live"]) == 0
        assert main(["managedsave", "web"]) == 0
        assert main(["start", "web"]) == 0
        assert ("hda", name) in now()[0]
    assert main(["snapshot-create-as", "web", "one"]) == 0
    assert main(["virsh", "attach-interface", "web", "--type", "user", "--mac", MAC, "--live"]) == 0
    assert main(["snapshot-create-as", "web", "two"]) == 0
    for snapshot, cards in (("one", []), ("two", [MAC])):
        assert main(["snapshot-revert", "web", snapshot]) == 0
        assert now() == ([("vda", "disk.qcow2"), ("hda", "other.iso")], cards)
    assert main(["destroy", "web"]) == 0
    assert main(["start", "web"]) == 0
    assert now() == ([("vda", "disk.qcow2"), ("hda", "disc.iso")], [])


def test_a_managed_save_is_gone_on_with_once(web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["virsh", "managedsave", "web"]) == 0
    assert state() == "shut off"
    assert main(["dominfo", "web"]) == 0
    assert "Managed save:   yes\n" in capsys.readouterr().out
    assert main(["undefine", "web"]) == 2
    assert "--managed-save" in capsys.readouterr().err
    assert main(["start", "web"]) == 0
    with connect() as manager:
        assert not manager.domains.info("web")["managed_save"]
        assert manager.domains.state("web") == "running"
        uuid = manager.domains.info("web")["uuid"]
    assert main(["virsh", "managedsave", uuid]) == 0
    assert main(["virsh", "managedsave-remove", "web"]) == 0
    assert main(["virsh", "managedsave-remove", "web"]) == 0
    assert "has no managed save" in capsys.readouterr().out
    assert main(["start", "web"]) == 0
    assert main(["managedsave", "web"]) == 0
    assert main(["undefine", "web", "--managed-save"]) == 0
    assert list((web / "state" / "innkeeper" / "saved").iterdir()) == []


def test_a_machine_whose_files_are_being_changed_is_shut_off(web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["destroy", "web"]) == 0
    at_work = Registration("web", still=True)
    capsys.readouterr()
    assert main(["list", "--all"]) == 0
    assert "web    shut off" in capsys.readouterr().out
    assert main(["dominfo", "web"]) == 0
    assert "shut off" in capsys.readouterr().out
    assert state() == "shut off"
    assert main(["start", "web"]) == 2
    assert "the files of machine web are being changed; try again" in capsys.readouterr().err
    at_work.close()
    assert main(["start", "web"]) == 0
    assert state() == "running"
    assert (web / "disk.qcow2").exists()


def test_a_damaged_managed_save_says_how_to_go_on(web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["managedsave", "web"]) == 0
    [file] = (web / "state" / "innkeeper" / "saved").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert main(["start", "web"]) == 2
    assert "inn start --force-boot web forgets it" in capsys.readouterr().err
    assert state() == "shut off"
    assert main(["start", "web", "--force-boot"]) == 0
    assert state() == "running"
    assert not file.exists()


def test_a_kill_in_the_middle_of_a_save_leaves_nothing_half_made(web: Path) -> None:
    file = web / "saved"
    file.write_bytes(b"old")
    with connect() as manager:
        process = manager.domains.info("web")["id"]
        assert process is not None
        work = manager.saves.save("web", str(file))
        next(work, None)
        with suppress(ProcessLookupError):  # it was quick
            os.kill(process, signal.SIGKILL)
        while state() != "shut off":
            time.sleep(0.05)
    assert file.read_bytes() == b"old" or read_xml_of(file) == "web"
    assert [path.name for path in web.iterdir() if path.name.startswith(".")] == []


def read_xml_of(file: Path) -> str:
    with connect() as manager:
        return read_xml(manager.saves.image_xml(str(file))).name


def test_a_machine_is_started_paused_saved_so_and_restored_as_somebody_says(
    web: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(web / "saved")
    assert main(["destroy", "web"]) == 0
    assert main(["start", "web", "--paused"]) == 0
    assert state() == "paused"
    assert main(["save", "web", file, "--bypass-cache", "--verbose"]) == 0
    assert main(["restore", file]) == 0
    assert state() == "paused"
    assert main(["resume", "web"]) == 0
    while state() != "running":
        time.sleep(0.05)
    assert main(["managedsave", "web", "--paused"]) == 0
    assert main(["start", "web", "--bypass-cache"]) == 0
    assert state() == "paused"
    assert main(["managedsave", "web", "--running"]) == 0
    assert main(["start", "web"]) == 0
    assert state() == "running"
    assert main(["save", "web", file, "--paused"]) == 0
    assert main(["restore", file, "--running", "--bypass-cache"]) == 0
    assert state() == "running"
    assert main(["managedsave", "web"]) == 0
    assert main(["start", "web", "--paused"]) == 0
    assert state() == "paused"
    capsys.readouterr()
    assert main(["restore", file, "--reset-nvram"]) == 2
    assert "--reset-nvram cannot be had here: a machine that goes on" in capsys.readouterr().err


def test_a_saved_machine_goes_on_by_another_document(
    web: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, other = str(web / "saved"), web / "other.xml"
    assert main(["save", "web", file]) == 0
    capsys.readouterr()
    assert main(["save-image-dumpxml", file]) == 0
    there = capsys.readouterr().out
    (web / "disk.qcow2").rename(web / "moved.qcow2")
    other.write_text(there.replace("disk.qcow2", "moved.qcow2"))
    assert main(["restore", file]) == 2
    for wrong, said in (
        (there.replace("<name>web", "<name>db"), "the document is of machine db"),
        ("\n".join(line for line in there.splitlines() if "<uuid>" not in line), "has no <uuid>"),
    ):
        (web / "wrong.xml").write_text(wrong)
        capsys.readouterr()
        assert main(["restore", file, "--xml", str(web / "wrong.xml")]) == 2
        assert said in capsys.readouterr().err
    assert main(["restore", file, "--xml", str(other)]) == 0
    assert state() == "running"
    assert main(["save", "web", file]) == 0
    (web / "moved.qcow2").rename(web / "again.qcow2")
    other.write_text(there.replace("disk.qcow2", "again.qcow2"))
    assert main(["save-image-define", file, str(other), "--paused"]) == 0
    assert f"State file {file} updated." in capsys.readouterr().out
    assert main(["restore", file]) == 0
    assert state() == "paused"
    monkeypatch.setenv("EDITOR", "sed -i s,again.qcow2,last.qcow2,")
    assert main(["save", "web", file]) == 0
    assert main(["save-image-edit", file, "--running"]) == 0
    (web / "again.qcow2").rename(web / "last.qcow2")
    assert main(["restore", file]) == 0
    assert state() == "running"
    assert main(["save", "web", file, "--xml", str(web / "wrong.xml")]) == 2
    assert "the document is of another machine than web" in capsys.readouterr().err
    assert state() == "running"


def test_a_managed_save_has_a_document_too(
    web: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["managedsave-dumpxml", "web"]) == 2
    assert "machine web has no managed save" in capsys.readouterr().err
    assert main(["managedsave", "web"]) == 0
    capsys.readouterr()
    assert main(["managedsave-dumpxml", "web"]) == 0
    xml = capsys.readouterr().out
    (web / "same.xml").write_text(xml)
    assert main(["managedsave-define", "web", str(web / "same.xml"), "--paused"]) == 0
    monkeypatch.setenv("EDITOR", "true")
    assert main(["managedsave-edit", "web"]) == 0
    assert "XML configuration not changed" in capsys.readouterr().out
    assert main(["start", "web"]) == 0
    assert state() == "paused"


@pytest.mark.usefixtures("web")
def test_jobs_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["domcontrol", "web"]) == 0
    assert capsys.readouterr().out == "ok\n\n"
    assert main(["virsh", "domjobinfo", "web"]) == 0
    assert capsys.readouterr().out == "Job type:         None\n\n"
    assert main(["domjobabort", "web"]) == 2
    assert "the machine is not being saved" in capsys.readouterr().err
    assert main(["domjobabort", "web", "--postcopy"]) == 2
    assert main(["managedsave", "web"]) == 0
    assert main(["domjobinfo", "web"]) == 2
    assert "machine web does not run" in capsys.readouterr().err
    assert main(["domjobinfo", "web", "--completed", "--keep-completed"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Job type:         Completed"
    assert said[1] == "Operation:        Save"
    assert said[5].startswith("Data total:       6")
    assert said[5].endswith(" MiB")
    assert main(["domjobinfo", "web", "--completed", "--rawstats"]) == 0
    assert "\nremaining: 0\n" in capsys.readouterr().out
    assert main(["domjobinfo", "web", "--completed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "None"
    assert main(["domcontrol", "web"]) == 2
