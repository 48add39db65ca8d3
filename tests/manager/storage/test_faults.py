"""Killed at any moment, or out of space: what has a volume's name is whole, and the rest is removed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.storage.qemu import needs_qemu, qemu_img, qemu_io

from innkeeper import storage
from innkeeper.manager.storage import Pools, Volumes
from innkeeper.manager.storage.describe import describe_volume
from innkeeper.manager.storage.work import finish

MIB = 1 << 20
KILLS = 12

# Makes, copies, resizes and removes volumes until it is killed. What it says it has done must have been done.
BUSY = """
import itertools, sys
from pathlib import Path
from innkeeper.manager.storage import Volumes
from innkeeper.manager.storage.describe import describe_volume
from innkeeper.manager.storage.work import finish

volumes = Volumes(Path(sys.argv[1]))
print("ready", flush=True)
for number in itertools.count():
    kind = ("raw", "qcow2")[number % 2]
    name = f"new-{number}"
    xml = describe_volume({"name": name, "capacity": str(8 << 20), "format": kind, "allocation": str(8 << 20)})
    finish(volumes.create("p", xml)); print("made", name, flush=True)
    finish(volumes.clone("source", f"clone-{number}", "p")); print("made", f"clone-{number}", flush=True)
    finish(volumes.resize(f"clone-{number}", 48 << 20, "p"))
    finish(volumes.upload(name, sys.argv[2], "p", offset=1000))
    volumes.delete(f"clone-{number}", "p"); print("gone", f"clone-{number}", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made = tmp_path / "pool"
    text = f"<pool type='dir'><name>p</name><target><path>{made}</path></target></pool>"
    Pools(tmp_path / "machines.sqlite").create(text, build=True)
    return made


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@needs_qemu
@pytest.mark.slow
def test_a_kill_leaves_whole_volumes_and_nothing_else(folder: Path) -> None:
    store = folder.parent / "machines.sqlite"
    volumes, pools = Volumes(store), Pools(store)
    storage.create(folder / "source", 32 * MIB, image_format="qcow2")
    qemu_io(folder / "source", "write -P 5 0 24M")
    (folder.parent / "in").write_bytes(b"in" * MIB)
    chance = random.Random(os.environ.get("INNKEEPER_SEED", "5"))
    for _ in range(KILLS):
        said = killed(store, folder.parent / "in", chance.uniform(0, 0.4))
        pools.refresh("p")
        found = {each["name"]: each for each in volumes.list("p")}
        assert listed(folder) == sorted(found), "leftovers"
        for verb, name in (line.split() for line in said):
            assert (name in found) == (verb == "made" and f"gone {name}" not in said) or name.startswith("clone-")
        for name, each in found.items():
            assert "error" not in each
            if each["format"] == "qcow2" and name != "source":
                qemu_img("check", "-q", each["path"])
            if name.startswith("clone-"):
                assert each["capacity"] in (32 * MIB, 48 * MIB)
                qemu_img("compare", "-q", folder / "source", each["path"])
            elif name.startswith("new-"):
                assert each["capacity"] == 8 * MIB or each["format"] == "raw"
            if name != "source":
                volumes.delete(name, "p")


def killed(store: Path, source: Path, after_s: float) -> list[str]:
    """Lets the work begin and kills it; what it has said."""
    with subprocess.Popen([sys.executable, "-c", BUSY, store, source], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(after_s)  # the moment is the test
        process.send_signal(signal.SIGKILL)
        return [line for line in process.stdout.read().splitlines() if line.count(" ") == 1]


def test_what_is_being_made_is_not_tidied_away(folder: Path) -> None:
    store = folder.parent / "machines.sqlite"
    volumes = Volumes(store)
    xml = describe_volume({"name": "v", "capacity": str(256 * MIB)})
    work = volumes.create("p", xml)
    next(work)
    assert len(listed(folder)) == 1
    Pools(store).refresh("p")
    assert finish(work)["name"] == "v"
    assert listed(folder) == ["v"]


FULL = """
import os, sys
from pathlib import Path
from innkeeper.errors import InnkeeperError
from innkeeper.manager.storage import Pools, Volumes
from innkeeper.manager.storage.describe import describe_volume
from innkeeper.manager.storage.work import finish

folder = Path(sys.argv[1])
store = folder.parent / "machines.sqlite"
pools, volumes = Pools(store), Volumes(store)
source = folder.parent / "in"
source.write_bytes(os.urandom(12 << 20))
finish(volumes.create("p", describe_volume({"name": "small", "capacity": "512"})))
before = volumes.list("p")
def tell(name, work):
    try:
        finish(work)
        print(name, "worked")
    except InnkeeperError as error:
        print(name, "|", error)
    assert volumes.list("p") == before, volumes.list("p")
    assert os.listdir(folder) == ["small"], os.listdir(folder)
tell("raw", volumes.create("p", describe_volume({"name": "v", "capacity": "20000000"})))
tell("qcow2", volumes.create("p", describe_volume({"name": "v", "capacity": "20000000", "format": "qcow2", "allocation": "20000000"})))
tell("upload", volumes.upload("small", str(source), "p"))
tell("resize", volumes.resize("small", 20 << 20, "p", allocate=True))
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare (Debian package util-linux)")
def test_a_full_disk_leaves_nothing_and_is_named(folder: Path) -> None:
    mount = f'mount -t tmpfs -o size=8m tmpfs {folder} && exec {sys.executable} -c "$0" {folder}'
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, FULL], capture_output=True, text=True, check=False, timeout=120
    )
    if "unshare failed" in run.stderr or "permission denied" in run.stderr:
        pytest.skip(f"this host lets nobody have a file system of their own: {run.stderr.strip()}")
    assert run.returncode == 0, run.stdout + run.stderr
    said = dict(line.split(" | ", 1) for line in run.stdout.splitlines())
    assert "takes 20000256 bytes" in said["raw"]
    assert "left in its pool" in said["raw"]
    for verb in ("qcow2", "upload", "resize"):
        assert "no space left on device" in said[verb].lower(), said
        assert ".innkeeper-" not in said[verb]
