"""Killed at any moment: all disks have a snapshot or none, and nothing is left behind."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.manager.snapshots.web import disks, files, holds, names_in, request, write
from tests.storage.qemu import needs_qemu

from innkeeper import storage
from innkeeper.manager.snapshots import Snapshots, external
from innkeeper.manager.storage.work import finish
from innkeeper.manager.store import Store

pytestmark = needs_qemu
KILLS = 12


BUSY = """
import itertools, sys
from pathlib import Path
from innkeeper.manager.snapshots import Snapshots
from innkeeper.manager.storage.work import finish

snapshots = Snapshots(Path(sys.argv[1]))
kind = sys.argv[2] == "external"
print("ready", flush=True)
for number in itertools.count():
    for name in ("x", "y"):
        snapshots.create("web", f"<domainsnapshot><name>{name}{number}</name></domainsnapshot>", disk_only=kind)
    snapshots.revert("web", f"x{number}" if number % 2 else f"y{number}")
    for name in ("y", "x"):
        finish(snapshots.delete("web", f"{name}{number}"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["internal", "external"])
def test_a_kill_leaves_all_or_none(snapshots: Snapshots, folder: Path, kind: str) -> None:
    store = folder / "machines.sqlite"
    chance = random.Random(os.environ.get("INNKEEPER_SEED", "5"))
    recovered = 0
    for _ in range(KILLS):
        with subprocess.Popen([sys.executable, "-c", BUSY, store, kind], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0, 0.5))  # the moment is the test
            process.send_signal(signal.SIGKILL)
        with Store(store) as kept:
            recovered += bool(kept.query("SELECT 1 FROM snapshot_journal"))
        snapshots = Snapshots(store)
        with Store(store) as kept:
            assert kept.query("SELECT * FROM snapshot_journal") == []
        now, known = disks(folder), [each["name"] for each in snapshots.list("web")]
        for path in now.values():
            holds(path, 1)
        if kind == "internal":
            assert sorted(names_in(folder / "a.qcow2")) == sorted(names_in(folder / "b.qcow2")) == known
        for name in reversed(known):
            snapshots.revert("web", name)
            holds(disks(folder)["vdb"], 1)
            finish(snapshots.delete("web", name))
        assert files(folder) == sorted(path.name for path in disks(folder).values()) == ["a.qcow2", "b.qcow2"]
    assert recovered, "no kill has met a change that was under way: the test tests nothing"


@pytest.mark.parametrize("action", ["revert", "merge"])
def test_what_can_only_be_finished_is_finished(
    snapshots: Snapshots, folder: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    snapshots.create("web", request("one"), disk_only=action == "merge")
    for path in disks(folder).values():
        write(path, 2)

    def cut(*_: object, **__: object) -> None:
        raise SystemExit  # after the first disk, before the last

    real = storage.apply_snapshot

    def change() -> None:
        if action == "revert":
            snapshots.revert("web", "one")
        else:
            finish(snapshots.delete("web", "one"))

    with monkeypatch.context() as patched:
        patched.setattr(
            storage, "apply_snapshot", lambda path, name: (real if path.name[0] == "a" else cut)(path, name)
        )
        patched.setattr(external, "elsewhere", cut)
        with pytest.raises(SystemExit):
            change()
    snapshots = Snapshots(folder / "machines.sqlite")
    for path in disks(folder).values():
        holds(path, 1 if action == "revert" else 2)
    assert len(snapshots.list("web")) == (action == "revert")
    assert disks(folder)["vda"] == folder / "a.qcow2"
