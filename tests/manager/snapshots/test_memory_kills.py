"""Managers and machines killed in the middle of a snapshot with memory: all is there afterwards, or nothing."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.manager.snapshots.test_memory import (
    identity,
    images,
    inside,
    journal,
    known,
    manager,
    nothing_is_left,
    process_of,
    wait_for_state,
)
from tests.manager.snapshots.web import holds, request
from tests.storage.qemu import needs_qemu

from innkeeper.machine.control import ask
from innkeeper.manager.service import Manager
from innkeeper.manager.snapshots import Snapshots
from innkeeper.manager.snapshots.places import memory_files
from innkeeper.manager.storage.work import finish

__all__ = ["manager"]  # the fixture
pytestmark = needs_qemu
KILLS = 10


@pytest.mark.parametrize("how", ["internal", "external"])
@pytest.mark.parametrize("moment", ["before", "after", "ended"])
def test_a_manager_that_is_killed_on_the_way_leaves_what_is_true(
    manager: Manager, user: Path, monkeypatch: pytest.MonkeyPatch, moment: str, how: str
) -> None:
    process, real = process_of(manager), ask
    more = f"<memory snapshot='external' file='{user}/memory'/>" if how == "external" else ""

    def cut(path: Path, do: str, **values: Any) -> object:
        if do != "checkpoint":
            return real(path, do, **values)
        if moment != "before":
            real(path, do, **values)
        if moment == "ended":
            os.kill(process, signal.SIGKILL)
        raise SystemExit

    with monkeypatch.context() as patched, pytest.raises(SystemExit):  # noqa: PT012
        patched.setattr(f"innkeeper.manager.snapshots.{'live' if more else 'memory'}.ask", cut)
        Snapshots().create("web", request("one", more))
    if moment == "ended":
        wait_for_state(manager, "shut off")
    snapshots = Snapshots()
    assert journal() == []
    if moment == "before":
        nothing_is_left(manager, user)
        assert not (user / "memory").exists()
        return
    assert known(snapshots) == ["one"]
    assert snapshots.info("web")["state"] == "running"
    manager.snapshots.revert("web", "one")
    assert manager.domains.state("web") == "running"


BUSY = """
import itertools
from innkeeper.manager.snapshots import Snapshots
from innkeeper.manager.storage.locks import users
from innkeeper.manager.storage.work import finish

snapshots = Snapshots()
print("ready", flush=True)
for number in itertools.count():
    for name in ("x", "y"):
        snapshots.create("web", f"<domainsnapshot><name>{name}{number}</name></domainsnapshot>")
    for name in ("y", "x"):
        finish(snapshots.delete("web", f"{name}{number}"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["manager", "machine"])
def test_a_kill_leaves_all_or_nothing(manager: Manager, user: Path, victim: str) -> None:
    chance = random.Random(os.environ.get("INNKEEPER_SEED", "5"))
    recovered = 0
    for _ in range(KILLS):
        with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as busy:
            assert busy.stdout is not None
            assert busy.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0, 0.8))  # the moment is the test
            if victim == "machine":
                os.kill(process_of(manager), signal.SIGKILL)
                wait_for_state(manager, "shut off")
            busy.send_signal(signal.SIGKILL)
        recovered += bool(journal())
        snapshots = Snapshots()
        assert journal() == []
        names = known(snapshots)
        for path in images(user):
            assert sorted(inside(path)) == names
        running = [name for name in names if snapshots.info("web", name)["state"] == "running"]
        assert len(memory_files(identity(manager))) == len(running)  # others were made once the machine was off
        if victim == "manager":
            assert manager.domains.state("web") == "running"
        for name in reversed(names):
            finish(snapshots.delete("web", name))
        if victim == "machine":
            for path in images(user):
                holds(path, 1)
            manager.domains.start("web")
    assert recovered or victim == "machine", "no kill has met a change that was under way: the test tests nothing"
