"""Kept machines saved and restored, with virsh's words, through the manager's daemon."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from innkeeper.cli import main
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
