"""Disks of all forms that `--disk` has, and UEFI by its files, as `inn virt-install` makes them: what a guest finds."""

import re
import shutil
from pathlib import Path

import pytest

from .conftest import Initramfs, fetched
from .test_ways_to_install import DRIVES, Home, by_kernel, home

__all__ = ["home"]  # a fixture
pytestmark = [pytest.mark.boot, pytest.mark.slow]

LOOK = """
for disk in /sys/block/vd* /sys/block/sd* /sys/block/sr*; do
    [ -e "$disk" ] && echo "$(basename $disk) $(cat $disk/size) ro=$(cat $disk/ro) $(cat $disk/serial 2>/dev/null)"
done
head -c 5 /dev/vdb; echo; echo looked; poweroff -f
"""


def test_disks_of_all_forms_are_what_they_say(home: Home, initramfs: Initramfs) -> None:
    kernel = fetched("linux-image-amd64")
    archive = initramfs(LOOK, kernel, modules=(*DRIVES, "sd_mod", "ahci"))
    (home.home / "base.img").write_bytes(b"below".ljust(1 << 20, b"\0"))
    home.inn("vol-create-as", "default", "vol.qcow2", "3M", "--format", "qcow2")
    disks = [
        "size=0.001953125,serial=by-size",
        f"path={home.home}/over.qcow2,size=0.00390625,backing_store={home.home}/base.img,backing_format=raw",
        "vol=default/vol.qcow2,cache=none,discard=ignore",
        f"path={home.home}/whole.img,size=0.001,format=raw,sparse=no,driver.cache=unsafe",
        f"path={home.home}/base.img,format=raw,readonly=on,serial=fixed",
        f"source.file={home.home}/sata.img,size=0.001,format=raw,target.bus=sata",
        f"path={home.home}/ide.img,size=0.001,format=raw,bus=ide",
        "device=cdrom,bus=ide",
    ]
    words = [word for disk in disks for word in ("--disk", disk)]
    home.install("--import", *by_kernel(kernel.vmlinuz, archive), *words)
    said = home.wait_for("looked")
    for line in (
        "vda 4096 ro=0 by-size",
        "vdb 8192 ro=0 ",
        "vdc 6144 ro=0 ",
        "vdd 2097 ro=0 ",
        "vde 2048 ro=1 fixed",
        "sda 2097 ro=0 ",
        "sdb 2097 ro=0 ",
    ):
        assert re.search(rf"^{line}", said, re.MULTILINE), said
    assert re.search(r"^below$", said, re.MULTILINE), "what is behind the overlay"
    assert re.search(r"^sr0 ", said, re.MULTILINE)
    whole = (home.home / "whole.img").stat()
    assert whole.st_blocks * 512 >= whole.st_size
    assert (home.home / "data/innkeeper/images/one.qcow2").exists()


# ---- UEFI -------------------------------------------------------------------------------------------

OVMF = Path("/usr/share/OVMF")


@pytest.mark.skipif(not (OVMF / "OVMF_VARS_4M.fd").exists(), reason="no OVMF: Debian's package ovmf")
def test_uefi_by_its_files_keeps_variables_of_the_machines_own(home: Home) -> None:
    for name in ("CODE", "VARS"):
        shutil.copy(OVMF / f"OVMF_{name}_4M.fd", home.home / f"{name.lower()}.fd")
    loader = f"loader={home.home}/code.fd,loader.readonly=yes,loader.type=pflash,nvram.template={home.home}/vars.fd"
    home.install("--import", "--disk", "none", "--boot", loader, "--boot", "loader_secure=no")
    home.wait_for("Shell>", limit_s=120)
    variables = home.home / "state/innkeeper/one.nvram"
    assert variables.stat().st_size == (home.home / "vars.fd").stat().st_size
    home.inn("destroy", "one")
    assert variables.read_bytes() != (home.home / "vars.fd").read_bytes()
    home.inn("undefine", "one", "--nvram")
    assert not variables.exists()
    assert (home.home / "vars.fd").exists()
