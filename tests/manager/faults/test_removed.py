"""Files removed under a running machine or its manager: nobody falls, and each verb says how things are."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from innkeeper import storage
from innkeeper.errors import BootError, HostError, ImageError, InnkeeperError
from innkeeper.machine.names import process_of
from innkeeper.manager import connect, domains
from innkeeper.manager.domains import Domains
from innkeeper.manager.events import Events
from innkeeper.manager.service import Manager
from innkeeper.testing.guests import SPIN, flat_guest

XML = """<domain type='bt'><name>web</name><memory unit='MiB'>32</memory><os><type>hvm</type><kernel>{0}/guest</kernel></os>
<devices><disk><driver type='qcow2'/><source file='{0}/disk'/><target dev='vda' bus='virtio'/></disk></devices></domain>"""


@pytest.fixture
def manager(user: Path) -> Iterator[Manager]:
    """With a machine that runs."""
    (user / "guest").write_bytes(flat_guest(SPIN))
    storage.create(user / "disk", 1 << 20, image_format="qcow2")
    with connect() as manager:
        manager.domains.define(XML.format(user))
        manager.domains.start("web")
        yield manager
    for process in (process_of("web"),):
        if process is not None:
            os.kill(process, signal.SIGKILL)


class NobodyLaunches:
    """For a service that only ends machines."""

    def launch(self, name: str, order: dict[str, Any]) -> int:
        raise NotImplementedError(name, order)


def runtime(user: Path) -> Path:
    return user / "run/innkeeper"


def runs(manager: Manager) -> int | None:
    (each,) = manager.domains.all()
    assert (each["state"] == "shut off") == (each["id"] is None)
    return each["id"]


@pytest.mark.parametrize("name", ["guest", "disk"])
def test_what_it_was_started_from(manager: Manager, user: Path, name: str) -> None:
    kept = (user / name).read_bytes()
    (user / name).unlink()
    assert runs(manager)
    assert manager.domains.info("web")["state"] == "running"
    assert [each["target"] for each in manager.hardware.disks("web")] == ["vda"]
    manager.domains.destroy("web")
    assert not runs(manager)
    with pytest.raises((BootError, HostError, ImageError), match=f"{user}/{name}"):
        manager.domains.start("web")
    (user / name).write_bytes(kept)
    assert manager.domains.start("web")


@pytest.mark.parametrize("name", ["control", "console", "folder"])
def test_the_sockets_that_lead_to_it(manager: Manager, user: Path, name: str) -> None:
    process = process_of("web")
    if name == "folder":
        for path in (runtime(user) / "web").iterdir():
            if path.name != "lock":
                path.unlink()
    else:
        (runtime(user) / "web" / name).unlink()
    assert runs(manager) == process
    if name != "console":
        with pytest.raises(HostError, match=r"cannot reach .*; inn destroy web ends it"):
            manager.hardware.disks("web")
    else:
        with pytest.raises(HostError, match=r"cannot reach .* of web"):
            manager.domains.console("web", os.getpid())
    with pytest.raises(HostError, match="runs already"):
        manager.domains.start("web")
    manager.domains.destroy("web")
    assert not runs(manager)
    assert manager.domains.start("web")
    assert manager.domains.console("web", os.getpid()) is not None


def test_a_process_that_answers_nobody_is_ended(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    for patience in ("ANSWER_S", "PATIENCE_S"):
        monkeypatch.setattr(domains, patience, 0.5)
    process = process_of("web")
    assert process is not None
    os.kill(process, signal.SIGSTOP)
    assert runs(manager) == process
    Domains(NobodyLaunches(), Events()).destroy("web")
    assert not runs(manager)


def test_the_managers_socket(manager: Manager, user: Path) -> None:
    process = runs(manager)
    (runtime(user) / "manager").unlink()
    assert runs(manager) == process  # who is connected stays so
    with connect() as other:
        assert runs(other) == process
        other.domains.destroy("web")
    assert not runs(manager)


@pytest.mark.usefixtures("manager")
def test_all_of_the_runtime_folder(user: Path) -> None:
    process = process_of("web")
    assert process is not None
    shutil.rmtree(runtime(user))
    with connect() as other:
        listed = {each["name"]: each["id"] for each in other.domains.all()}
        if listed["web"] is None:  # nothing leads to it any more, but its disk says who it is
            with pytest.raises(InnkeeperError, match=f"{process}|machine web runs already"):  # it may have come back
                other.domains.start("web")
            os.kill(process, signal.SIGKILL)
        else:
            other.domains.destroy("web")
        deadline = time.monotonic() + 20
        while Path(f"/proc/{process}").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert other.domains.start("web")
        other.domains.destroy("web")
