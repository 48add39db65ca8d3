"""A walk at random over the manager's verbs, on which somebody is killed now and then; what must hold after each step.

The world is one user's folders. What was answered as done must be so from then on; what was not answered may be done or not.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from innkeeper import storage
from innkeeper.errors import HostError, InnkeeperError
from innkeeper.manager import connect, read_xml
from innkeeper.manager.service import Manager
from innkeeper.manager.storage.describe import describe_volume
from innkeeper.manager.storage.work import finish
from innkeeper.testing.guests import SPIN, flat_guest

MIB = 1 << 20
NAMES = ("a", "b")
PATIENCE_S = 60.0
SETTLE_S = 30.0
KILL_WITHIN_S = 0.2
XML = """<domain type='bt'><name>{name}</name><memory unit='MiB'>32</memory><os><type>hvm</type><kernel>{folder}/guest</kernel></os>
<devices><disk><driver type='qcow2'/><source file='{folder}/{name}.qcow2'/><target dev='vda' bus='virtio'/></disk>
{drive}</devices></domain>"""
DRIVE = "<disk device='cdrom'><target dev='hdc' bus='ide'/></disk>"  # with which a machine cannot be saved
CARD = "<interface type='user'><mac address='52:54:00:00:00:01'/></interface>"
POOL = "<pool type='dir'><name>p</name><target><path>{}</path></target></pool>"
DAEMON, NURSERY = "innkeeper.manager.daemon", "innkeeper.manager.nursery"

LIVE = {
    "destroy",
    "reset",
    "attach-interface",
    "detach-interface",
    "attach-disk",
    "detach-disk",
    "insert",
    "save",
    "managedsave",
}
STILL = {"start", "snapshot-create", "snapshot-revert", "snapshot-delete", "restore"}
"""What a verb needs of its machine."""

Act = Callable[[Manager, str], Any]


class World:
    """One user's machines."""

    def __init__(self, folder: Path, seed: str) -> None:
        """The user's folders are those of the environment."""
        self.folder, self.chance = folder, random.Random(seed)
        self.kept: dict[str, bool | None] = dict.fromkeys(NAMES, False)  # None: nobody knows
        (folder / "guest").write_bytes(flat_guest(SPIN))
        (folder / "disc").write_bytes(bytes(2048))
        for name in (*NAMES, "c"):
            storage.create(folder / f"{name}.qcow2", MIB, image_format="qcow2")
        storage.create(folder / "more.qcow2", MIB, image_format="qcow2")
        with connect() as manager:
            manager.pools.create(POOL.format(folder / "pool"), build=True)
        self.told: list[str] = []

    # ---- verbs ----------------------------------------------------------------------------------

    def verbs(self) -> dict[str, Act]:
        more = f"<disk><driver type='qcow2'/><source file='{self.folder}/more.qcow2'/><target dev='vdb'/></disk>"
        disc, saved = str(self.folder / "disc"), str(self.folder / "saved")
        volume = f"v{self.chance.randrange(3)}"
        made = describe_volume({"name": volume, "capacity": str(2 * MIB), "format": "qcow2"})
        both = ["persistent"]
        return {
            "define": lambda m, name: m.domains.define(self.xml(name)),
            "undefine": lambda m, name: m.domains.undefine(name, snapshots_metadata=True, managed_save=True),
            "start": lambda m, name: m.domains.start(name),
            "destroy": lambda m, name: m.domains.destroy(name),
            "reset": lambda m, name: m.domains.reset(name),
            "list": lambda m, _: m.domains.all(titles=True),
            "autostart": lambda m, name: m.domains.autostart(name, on=True),
            "attach-interface": lambda m, name: m.hardware.attach(name, CARD, both),
            "detach-interface": lambda m, name: m.hardware.detach(name, CARD, both),
            "attach-disk": lambda m, name: m.hardware.attach(name, more, both),
            "detach-disk": lambda m, name: m.hardware.detach(name, more, both),
            "insert": lambda m, name: m.hardware.change_media(name, "hdc", disc, "update", both),
            "eject": lambda m, name: m.hardware.change_media(name, "hdc", None, "eject", both, force=True),
            "setmem": lambda m, name: m.hardware.set_memory(name, 16 << 10, ["config"]),
            "save": lambda m, name: finish(m.saves.save(name, saved)),
            "restore": lambda m, _: m.saves.restore(saved),
            "managedsave": lambda m, name: finish(m.saves.managed_save(name)),
            "snapshot-create": lambda m, name: m.snapshots.create(name, "<domainsnapshot/>"),
            "snapshot-delete": lambda m, name: finish(m.snapshots.delete(name)),
            "snapshot-revert": lambda m, name: m.snapshots.revert(name),
            "vol-create": lambda m, _: finish(m.volumes.create("p", made)),
            "vol-clone": lambda m, _: finish(m.volumes.clone(volume, f"{volume}-clone", "p")),
            "vol-delete": lambda m, _: m.volumes.delete(volume, "p"),
            "virt-install": lambda _m, _name: self.install(),
        }  # fmt: skip

    def xml(self, name: str) -> str:
        return XML.format(name=name, folder=self.folder, drive=DRIVE if name == "b" else "")

    def install(self) -> None:
        """Of a machine that is forgotten when the step has been looked at. Its command can be killed as well."""
        words = ["virt-install", "--name", "c", "--memory", "32", "--virt-type", "bt", "--import", "--noautoconsole"]
        words += ["--disk", f"{self.folder}/c.qcow2", "--boot", f"kernel={self.folder}/guest", "--network", "none"]
        words += ["--osinfo", "generic", "--graphics", "none"]
        done = subprocess.run(
            [sys.executable, "-m", "innkeeper.cli", *words],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            assert done.stderr.count("error: ") <= 1, done.stderr
            raise HostError(done.stderr or f"status {done.returncode}")

    # ---- one step -------------------------------------------------------------------------------

    def step(self) -> None:
        verbs = self.verbs()
        verb, name = self.chance.choice(list(verbs)), self.chance.choice(NAMES)
        answers: list[object] = []
        manager = connect()
        self.prepare(manager, verb, name)

        def ask() -> None:
            try:
                answers.append(verbs[verb](manager, name))
            except Exception as error:  # noqa: BLE001 - looked at by `judge`
                answers.append(error)
            manager.close()

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        victim = self.chance.choice(["nobody", "daemon", "daemon", "nursery", "machine", "client"])
        time.sleep(
            self.chance.uniform(0, self.chance.choice((KILL_WITHIN_S / 20, KILL_WITHIN_S)))
        )  # the moment is the test
        killed = self.kill(victim)
        thread.join(PATIENCE_S)
        self.told.append(f"{verb} {name}, {victim} {killed} killed: {answers!r:.300}")
        assert not thread.is_alive(), "it hangs"
        self.judge(verb, name, answers[0])
        self.look()

    def prepare(self, manager: Manager, verb: str, name: str) -> None:
        """Mostly so that the verb has something to do."""
        with suppress(InnkeeperError):
            if not self.kept[name] and verb != "define" and self.chance.random() < 0.9:
                manager.domains.define(self.xml(name))
                self.kept[name] = True
            if verb in LIVE and self.chance.random() < 0.8:
                manager.domains.start(name)
            if verb in STILL:
                manager.domains.destroy(name)

    def kill(self, victim: str) -> list[int]:
        chosen = {"daemon": self.daemons, "nursery": self.nurseries, "machine": self.machines, "client": self.clients}
        processes = chosen[victim]() if victim in chosen else []
        for process in processes[:1]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return processes[:1]

    def judge(self, verb: str, name: str, answer: object) -> None:
        """What is known from an answer."""
        if isinstance(answer, Exception):
            assert isinstance(answer, InnkeeperError), answer
            assert "internal" not in str(answer), answer
        if verb == "define":
            self.kept[name] = None if isinstance(answer, Exception) else True
        if verb == "undefine" and (not isinstance(answer, Exception) or "has ended meanwhile" in str(answer)):
            self.kept[name] = None if isinstance(answer, Exception) else False

    # ---- what must hold -------------------------------------------------------------------------

    def look(self) -> None:
        with connect() as manager:
            found = {each["name"]: each for each in manager.domains.all(titles=True)}
            for name, expected in self.kept.items():
                there = name in found and found[name]["persistent"]
                assert expected in (None, there), f"{name} is kept: {there}"
                self.kept[name] = there
                if there:
                    assert read_xml(manager.domains.xml(name)).name == name
                    manager.snapshots.list(name)
            manager.pools.refresh("p")
            volumes = {each["name"] for each in manager.volumes.list("p")}
            assert {path.name for path in (self.folder / "pool").iterdir()} == volumes, "leftovers in the pool"
            if "c" in found:
                assert found["c"]["persistent"], found
                if found["c"]["id"]:
                    manager.domains.destroy("c")
                manager.domains.undefine("c")
            self.settle(manager)
        assert not list((self.folder / "state/innkeeper/installations").glob("*")), "leftovers of an installation"

    def settle(self, manager: Manager) -> None:
        """Each process of ours is a daemon's, its nursery or a machine that is listed; none is missing."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            listed = sorted(each["id"] for each in manager.domains.all() if each["id"])
            one = len(self.daemons()) == 1 and len(self.nurseries()) <= 1
            if one and listed == sorted(self.machines()):
                return
            assert time.monotonic() < deadline, (listed, self.daemons(), self.nurseries(), self.machines())
            time.sleep(0.05)

    def end(self) -> None:
        """All that is kept can be started, stopped and forgotten: nothing is locked or in the way."""
        with connect() as manager:
            for each in manager.domains.all():
                if each["id"]:
                    manager.domains.destroy(each["name"])
            for name in NAMES:
                with suppress(InnkeeperError):
                    manager.domains.undefine(name, snapshots_metadata=True, managed_save=True)
                manager.domains.define(self.xml(name))
                manager.domains.start(name)
                manager.domains.destroy(name)
                manager.domains.undefine(name)
            self.settle(manager)
            assert manager.domains.all() == []
        for image in self.folder.glob("*.qcow2"):
            found = storage.check(image)
            assert (found["check-errors"], found.get("corruptions", 0)) == (0, 0), image
        assert not list((self.folder / "state/innkeeper/saved").glob("*")), "a save that nobody can find"

    # ---- processes ------------------------------------------------------------------------------

    def ours(self, module: str) -> list[tuple[int, int]]:
        """Processes of this user's that run a module, and their parents."""
        mark, found = f"XDG_RUNTIME_DIR={self.folder}/run\0".encode(), []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                process = int(entry.name)
                if module.encode() in (entry / "cmdline").read_bytes() and mark in (entry / "environ").read_bytes():
                    state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                    found += [(process, int(parent))] if state != "Z" else []
        return sorted(found)

    def daemons(self) -> list[int]:
        return [process for process, _ in self.ours(DAEMON)]

    def nurseries(self) -> list[int]:
        """They lead a session, which forks of theirs do not."""
        return [process for process, _ in self.ours(NURSERY) if os.getsid(process) == process]

    def machines(self) -> list[int]:
        leaders = self.nurseries()
        return [process for process, _ in self.ours(NURSERY) if process not in leaders]

    def clients(self) -> list[int]:
        return [process for process, _ in self.ours("virt-install")]
