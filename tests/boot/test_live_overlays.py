"""A stock kernel does not notice that its disks move onto overlays while it writes to them."""

import re
import time
from pathlib import Path

import pytest

from innkeeper import _core
from innkeeper.config import DiskConfig
from innkeeper.image import KernelImage
from innkeeper.storage import ImageOptions, check, create
from tests.boot.conftest import SHELL, Initramfs
from tests.boot.test_hotplug import MODULES, Guest

pytestmark = pytest.mark.boot

COUNT = (
    "{ (n=0; while :; do n=$((n+1)); echo $n > /tmp/n; for d in vda vdb; do "
    "dd if=/tmp/n of=/dev/$d conv=fsync,sync 2>/dev/null; done; done) & }"
)


def number_on(path: Path) -> int:
    disk = _core.Disk(path, read_only=True, lock=False)  # the machine may not be collected yet
    found = re.match(rb"\d+", disk.read(0, 16))
    disk.close()
    assert found is not None
    return int(found[0])


def test_disks_move_while_the_guest_writes(debian: KernelImage, initramfs: Initramfs, tmp_path: Path) -> None:
    bases = {name: tmp_path / name for name in ("vda", "vdb")}
    tops = {name: tmp_path / f"{name}.top" for name in bases}
    for name, base in bases.items():
        create(base, 8 << 20, image_format="qcow2")
        create(tops[name], image_format="qcow2", options=ImageOptions(backing_file=str(base), backing_fmt="qcow2"))
    with Guest(debian, initramfs(SHELL, modules=MODULES)) as guest:
        live = guest.machine.live
        for name, base in bases.items():
            live.attach_disk(DiskConfig(path=base))
            guest.wait_for("ls /dev", rf"\b{name}\b")
        guest.ask(COUNT)
        guest.wait_for("cat /tmp/n", r"\n[1-9]\d+\r")
        live.lay_overlays({name: str(top) for name, top in tops.items()})
        then = int(guest.wait_for("cat /tmp/n", r"\n\d+\r").split("\n")[1])
        deadline = time.monotonic() + 60
        while int(guest.ask("cat /tmp/n").split("\n")[1]) < then + 10:
            assert time.monotonic() < deadline
        assert [disk.config.path for disk in live.disks()] == list(tops.values())
        assert "error" not in guest.ask("dmesg | grep -i vd").replace("grep", "")
    below, above = [number_on(base) for base in bases.values()], [number_on(top) for top in tops.values()]
    assert below[1] <= below[0] <= below[1] + 1, "both disks are of one moment"
    assert above[1] >= then + 9 > below[0]
    for path in (*bases.values(), *tops.values()):
        assert check(path, share=True).get("corruptions", 0) == 0
