"""A machine with two disks, and its snapshots."""

from pathlib import Path

import pytest
from tests.manager.snapshots.web import ID, MIB, document, write

from innkeeper import storage
from innkeeper.manager.snapshots import Snapshots
from innkeeper.manager.store import Store


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the machine `web`, whose disks are a.qcow2 and b.qcow2, and which has a disc and a disk that is only read."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in "ab":
        storage.create(tmp_path / f"{name}.qcow2", 4 * MIB, image_format="qcow2")
        write(tmp_path / f"{name}.qcow2", 1)
    (tmp_path / "disc").touch()
    with Store(tmp_path / "machines.sqlite") as store:
        store.put("web", ID, document(tmp_path))
    return tmp_path


@pytest.fixture
def snapshots(folder: Path) -> Snapshots:
    return Snapshots(folder / "machines.sqlite")
