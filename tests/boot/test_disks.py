"""Debian's drivers on virtio disks: file systems, what survives the loss of our process, resets and sleeps."""

import signal
import subprocess
from pathlib import Path

import pytest

from innkeeper.image import KernelImage

from .conftest import Initramfs
from .inn import guest, inn_piped, inn_run

pytestmark = [pytest.mark.boot, pytest.mark.slow]

MODULES = ("virtio_pci", "virtio_blk", "virtio_rng", "ext4")
PATTERN = "7dcf0ecc6e1e4f5b"


@pytest.fixture(scope="module")
def ext4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file system that nobody has written to."""
    image = tmp_path_factory.mktemp("ext4") / "fresh.raw"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    try:
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", str(image)], check=True, timeout=60)
    except OSError:
        pytest.skip("mke2fs (Debian package e2fsprogs) makes the file system")
    return image


@pytest.fixture
def disk(ext4: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "disk.raw"
    copy.write_bytes(ext4.read_bytes())
    return copy


def check(image: Path) -> None:
    """Replays the journal, as a mount would, then finds nothing wrong."""
    subprocess.run(["e2fsck", "-fy", "-E", "journal_only", str(image)], capture_output=True, check=False, timeout=60)
    done = subprocess.run(["e2fsck", "-fn", str(image)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


def content(image: Path, name: str) -> str:
    command = ["debugfs", "-R", f"cat {name}", str(image)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_what_was_flushed_survives_the_end_of_our_process(
    debian: KernelImage, initramfs: Initramfs, disk: Path
) -> None:
    script = f"""
    mkdir -p /mnt; mount -t ext4 /dev/vda /mnt; cat /sys/block/vda/serial; echo
    for i in $(seq 200); do echo {PATTERN}-$i; done >/mnt/kept; sync /mnt/kept; sync -f /mnt
    echo flushed; while true; do dd if=/dev/zero of=/mnt/other bs=4k count=500 conv=fsync 2>/dev/null; done
    """
    options = guest(debian.vmlinuz, initramfs(script, modules=MODULES))
    with inn_piped(*options, "--disk", f"path={disk},serial=SN-12") as run:
        said = run.line.wait_for("flushed", limit_s=120)
        run.signal(signal.SIGKILL)
        run.status()

    assert "SN-12" in said
    check(disk)
    assert content(disk, "kept").split() == [f"{PATTERN}-{i}" for i in range(1, 201)]


def test_disks_work_after_a_reset_and_a_sleep_with_requests_under_way(
    debian: KernelImage, initramfs: Initramfs, disk: Path, tmp_path: Path
) -> None:
    """The first boot sleeps and resets while its disk is busy; the second finds all as it was."""
    second = tmp_path / "second.raw"
    script = f"""
    mkdir -p /mnt; mount -t ext4 /dev/vda /mnt
    if [ -e /mnt/kept ]; then grep -c {PATTERN} /mnt/kept; blockdev --getsize64 /dev/vdb; echo again; poweroff -f; fi
    echo 0 >/sys/class/rtc/rtc0/wakealarm; echo +2 >/sys/class/rtc/rtc0/wakealarm
    (while true; do dd if=/dev/vda of=/dev/null bs=64k count=100 iflag=direct 2>/dev/null; done) &
    echo mem >/sys/power/state && echo woken
    echo {PATTERN} >/mnt/kept; sync; dd if=/dev/vda of=/dev/null bs=64k count=10 iflag=direct 2>/dev/null && echo read
    echo b >/proc/sysrq-trigger; sleep 60
    """
    options = guest(debian.vmlinuz, initramfs(script, modules=MODULES))
    done = inn_run(*options, "--disk", str(disk), "--disk", f"{second},size=0.25,format=raw", "--rng", "builtin")

    assert done.status == 0, done.complaint + done.said[-2000:]
    assert [word for word in ("woken", "read", "268435456", "again") if word not in done.lines] == []
    check(disk)


def test_a_read_only_disk_cannot_be_written(debian: KernelImage, initramfs: Initramfs, disk: Path) -> None:
    before = disk.read_bytes()
    script = "cat /sys/block/vda/ro; dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync; echo end; poweroff -f"
    options = guest(debian.vmlinuz, initramfs(script, modules=MODULES))
    done = inn_run(*options, "--disk", f"path={disk},readonly=on")

    assert "1" in done.lines
    assert "end" in done.lines
    assert disk.read_bytes() == before
