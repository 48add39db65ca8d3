"""A disk that is full: each verb says so, nothing is lost or half-made, and all of it works again when there is space."""

import sys

import pytest
from tests.namespaces import Namespace, skip_unless_possible

pytestmark = pytest.mark.slow

# Run on a host of its own, whose /run is small: all folders are there.
STORY = '''
import os, sys
from pathlib import Path
from innkeeper import storage
from innkeeper.errors import InnkeeperError
from innkeeper.manager import connect
from innkeeper.manager.storage.describe import describe_volume
from innkeeper.manager.storage.work import finish
from innkeeper.testing.guests import SPIN, flat_guest

folder, images = Path("/run/state"), Path("/run/images")
images.mkdir()
Path("/run/guest").write_bytes(flat_guest(SPIN))
storage.create(images / "disk", 1 << 20, image_format="qcow2")
XML = """<domain type='bt'><name>{}</name><memory unit='MiB'>64</memory><os><type>hvm</type><kernel>/run/guest</kernel></os>
<devices><disk><driver type='qcow2'/><source file='/run/images/disk'/><target dev='vda' bus='virtio'/></disk></devices></domain>"""
LARGE = XML.replace("<os>", "<description>" + "x" * 300_000 + "</description><os>")
filler = open("/run/filler", "wb", buffering=0)

def fill():
    for size in (1 << 20, 4096, 1):
        try:
            while True:
                filler.write(os.urandom(size))
        except OSError:
            pass

def drain():
    os.ftruncate(filler.fileno(), 0)
    filler.seek(0)

with connect() as manager:
    manager.domains.define(XML.format("web"))
    manager.pools.create("<pool type='dir'><name>p</name><target><path>/run/pool</path></target></pool>", build=True)
    manager.domains.start("web")
    volume = describe_volume({"name": "v", "capacity": str(4 << 20), "format": "raw", "allocation": str(4 << 20)})
    verbs = {
        "define": lambda: manager.domains.define(LARGE.format("other")),
        "vol-create": lambda: finish(manager.volumes.create("p", volume)),
        "save": lambda: finish(manager.saves.save("web", "/run/images/saved")),
        "managedsave": lambda: finish(manager.saves.managed_save("web")),
        "snapshot": lambda: manager.snapshots.create("other", "<domainsnapshot/>"),
    }
    def listed():
        return {each["name"]: each["state"] for each in manager.domains.all()}, sorted(os.listdir(images)), os.listdir("/run/pool")
    for name, verb in verbs.items():
        if name == "snapshot":
            storage.create(images / "other", 1 << 20, image_format="qcow2")
            manager.domains.define(XML.format("other").replace("images/disk", "images/other"))
        before = listed()
        fill()
        try:
            verb()
            print(name, "| worked", flush=True)
        except InnkeeperError as error:
            print(name, "|", error, flush=True)
        drain()
        assert listed() == before, (name, listed(), before)
        verb()
        print(name, "| then worked", flush=True)
        after = listed()
        if name in ("save", "managedsave"):
            assert after[0]["web"] == "shut off"
            if name == "save":
                os.unlink("/run/images/saved")
            manager.domains.start("web")
            assert listed()[0]["web"] == "running"
        if name == "define":
            manager.domains.undefine("other")
        if name == "vol-create":
            manager.volumes.delete("v", "p")
    manager.domains.destroy("web")
    fill()
    try:
        manager.domains.start("web")
        print("start | worked")
        manager.domains.destroy("web")
    except InnkeeperError as error:
        print("start |", error)
    drain()
    manager.domains.start("web")
    manager.domains.destroy("web")
'''


def test_a_full_disk_is_named_and_nothing_is_lost() -> None:
    skip_unless_possible("mount")
    with Namespace() as host:
        host.shell("mount -o remount,size=100m /run")
        done = host.run(sys.executable, "-c", STORY, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line.split(" | ", 1) for line in done.stdout.splitlines()]
    for verb in ("define", "vol-create", "save", "managedsave", "snapshot"):
        first, second = [words for name, words in said if name == verb]
        assert second == "then worked"
        assert "space" in first or "full" in first or "0 are left" in first, said
        assert "internal" not in first
