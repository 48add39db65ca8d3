"""Machines that are kept: made, shown, forgotten, with virsh's words."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from innkeeper.cli import main
from innkeeper.manager import read_xml

XML = "<domain type='qemu'><name>web</name><memory unit='MiB'>64</memory><devices><hub/></devices></domain>"


@pytest.fixture(autouse=True)
def folders(user: Path) -> Path:
    return user


@pytest.fixture
def web(folders: Path) -> None:
    file = folders / "web.xml"
    file.write_text(XML)
    assert main(["define", str(file)]) == 0


def test_what_is_defined_is_listed_shown_and_forgotten(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folders / "web.xml"
    file.write_text(XML)
    assert main(["define", str(file)]) == 0
    said = capsys.readouterr()
    assert "Domain 'web' defined from" in said.out
    assert "without meaning here: devices/hub" in said.err
    assert main(["virsh", "list", "--all"]) == 0
    assert " -    web    shut off\n" in capsys.readouterr().out
    assert main(["dumpxml", "web"]) == 0
    shown = capsys.readouterr().out
    assert "<hub" in shown
    assert main(["virsh", "domstate", str(read_xml(shown).uuid)]) == 0
    assert capsys.readouterr().out == "shut off\n\n"
    assert main(["undefine", "web"]) == 0
    assert main(["list", "--all", "--json"]) == 0
    assert capsys.readouterr().out.endswith("[]\n")


@pytest.mark.usefixtures("web")
def test_a_machine_that_does_not_run_cannot_be_ended(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("destroy", "shutdown", "reset", "console", "vncdisplay"):
        assert main([verb, "web"]) == 2
        assert "machine web does not run; inn start web starts it" in capsys.readouterr().err


def test_nobody_of_that_name(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("start", "dominfo", "undefine", "autostart"):
        assert main(["virsh", verb, "nobody"]) == 1
        assert "there is no machine 'nobody'" in capsys.readouterr().err


@pytest.mark.usefixtures("web")
def test_a_mark_is_made_and_taken_away(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["autostart", "web"]) == 0
    assert main(["list", "--all", "--autostart", "--name"]) == 0
    assert "web\n" in capsys.readouterr().out
    assert main(["autostart", "--disable", "--domain", "web"]) == 0
    capsys.readouterr()
    assert main(["list", "--all", "--autostart", "--name"]) == 0
    assert capsys.readouterr().out == ""


def test_undefining_removes_the_disks_that_it_was_asked_to(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk, disc, file = folders / "disk", folders / "disc.iso", folders / "a.xml"
    disk.touch()
    disc.touch()
    devices = f"<disk><source file='{disk}'/><target dev='vda'/></disk>"
    devices += f"<disk device='cdrom'><source file='{disc}'/><target dev='hda'/></disk>"
    file.write_text(XML.replace("<hub/>", devices))
    assert main(["define", str(file)]) == 0
    assert main(["domblklist", "web"]) == 0
    assert str(disc) in capsys.readouterr().out
    assert main(["undefine", "web", "--remove-all-storage"]) == 0
    assert (disk.exists(), disc.exists()) == (False, True)


INSTALL = ["virt-install", "--virt-type=kvm", "--name", "myvm", "--ram", "2048", "--vcpus=2", "--os-variant=debian12"]
CARDS = ["--network=bridge=br0,model=virtio", "--graphics", "vnc"]


def test_the_usual_virt_install_line_describes_a_machine(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    iso = folders / "installer.iso"
    iso.touch()
    disk = f"path={folders}/myvm.disk,size=10,bus=virtio,format=qcow2"
    assert main([*INSTALL, f"--cdrom={iso}", *CARDS, "--disk", disk, "--print-xml", "2"]) == 0
    definition = read_xml(capsys.readouterr().out)
    machine = definition.machine
    assert (definition.name, machine.memory_mib, machine.vcpus, machine.engine) == ("myvm", 2048, 2, "kvm")
    assert [(drive.path, drive.format) for drive in machine.disks] == [(folders / "myvm.disk", "qcow2"), (iso, "raw")]
    assert machine.networks[0].name == "br0"
    assert machine.networks[0].mac is not None
    assert not (folders / "myvm.disk").exists()
    assert main(["list", "--all", "--name"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--import", "--disk", "path=/none/a"], "there is no file /none/a; give it a size"),
        (["--import"], "no disk is given"),
        (["--disk", "none"], "nothing says what to install from"),
        (["--disk", "none", "--import", "--vcpus", "two"], "--vcpus has vcpus=two"),
        (["--disk", "none", "--import", "--vcpus", "4,sockets=2"], "--vcpus is '4,sockets=2'"),
        (["--disk", "none", "--import", "--connect", "xen:///"], "connect is 'xen:///'"),
        (["--disk", "none", "--boot", "hd,tpm=yes"], "--boot has an unknown key 'tpm'"),
        (["--disk", "none", "--import", "--network", "bridge=br0,modle=virtio"], "did you mean 'model'?"),
        (["--disk", "none", "--import", "--uuid", "1"], "32 hexadecimal digits"),
        (["--disk", "none", "--import", "--name", "a/b"], "a machine's name is 'a/b'"),
    ],
)
def test_mistakes_are_named_and_nothing_is_made(
    options: list[str], words: str, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["virt-install", "--name", "myvm", *options]) == 2
    assert words in capsys.readouterr().err
    assert not list(folders.glob("state/innkeeper/myvm*"))
    assert not list(folders.glob("state/innkeeper/installations/*"))


def test_a_failed_installation_leaves_nothing(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kernel = folders / "vmlinuz"
    kernel.write_bytes(b"no kernel")
    options = ["--disk", f"path={folders}/d,size=0.01", "--boot", f"kernel={kernel}", "--graphics", "none"]
    assert main(["virt-install", "--name", "myvm", *options, "--noautoconsole"]) == 2
    said = capsys.readouterr().err
    assert f"what the installation had made is removed, and {folders}/d; the same command can be run again" in said
    assert "unknown format" in said
    assert not (folders / "d").exists()
    assert main(["list", "--all", "--name"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("web")
def test_a_machine_is_known_by_its_name_and_its_uuid(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["domuuid", "web"]) == 0
    uuid = capsys.readouterr().out.strip()
    assert main(["virsh", "domname", uuid]) == 0
    assert capsys.readouterr().out == "web\n\n"
    assert main(["domid", "web"]) == 0
    assert capsys.readouterr().out == "-\n\n"


@pytest.mark.usefixtures("web")
def test_events_are_waited_for(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "innkeeper.cli", "event", "--all", "--json", "--timeout", "60", "web"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as waiting:
        while waiting.poll() is None:  # until it hears of one
            capsys.readouterr()
            assert main(["dumpxml", "web"]) == 0
            again = folders / "again.xml"
            again.write_text(capsys.readouterr().out)
            assert main(["define", str(again)]) == 0
        output, _ = waiting.communicate()
    assert waiting.returncode == 0
    event = json.loads(output)
    assert (event["domain"], event["what"], event["detail"]) == ("web", "defined", "updated")


def test_no_event_in_time_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["event", "--all", "--timeout", "1"]) == 2
    assert capsys.readouterr().out == "event loop timed out\n"
    assert main(["event"]) == 2
    assert main(["event", "--event", "reboots"]) == 2


@pytest.mark.usefixtures("web")
def test_a_definition_is_edited(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VISUAL", "true")
    assert main(["edit", "web"]) == 0
    assert "not changed" in capsys.readouterr().out
    monkeypatch.setenv("VISUAL", "sed -i s,64</memory,128</memory,")
    assert main(["virsh", "edit", "web"]) == 0
    assert main(["dumpxml", "web"]) == 0
    shown = capsys.readouterr().out
    assert "128</memory>" in shown
    assert "<hub" in shown
    monkeypatch.setenv("VISUAL", "sed -i 's/mib = 128/mib = lots/'")
    assert main(["edit", "web", "--toml"]) == 2
    complaint = capsys.readouterr().err
    assert "what you wrote is in" in complaint
    assert "lots" in Path(complaint.split("what you wrote is in ")[1].strip()).read_text()
