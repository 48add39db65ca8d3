"""Disks and CD-ROM drives under Debian's generic kernel: whole files read and written through its own drivers."""

import hashlib
import random
import signal
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from shutil import which

import pytest

from innkeeper import ImageError, InnkeeperError, Machine, MachineConfig, OutcomeKind
from innkeeper.config import DiskConfig, EngineChoice
from innkeeper.console import MemoryConsole
from innkeeper.image import InitramfsRecipe, KernelImage, build_initramfs

from .conftest import fetched
from .inn import LIMIT_S, guest, inn_piped, inn_run

pytestmark = [pytest.mark.boot, pytest.mark.slow]

GENERIC = "linux-image-amd64"
MODULES = ("ata_piix", "ahci", "sr_mod", "sd_mod", "isofs", "ext4", "crc32c_generic")
LOOK = """
mkdir -p /disk /cd
mount -t iso9660 -o ro /dev/sr0 /cd && cd /cd && sha256sum -c SUMS && echo CD-$? ; cd /
mount -t ext4 /dev/sda /disk && cd /disk && sha256sum -c SUMS && echo DISK-$? ; cd /
cp /cd/big.bin /disk/copy.bin && sync && sha256sum /disk/copy.bin; umount /disk
cat /sys/class/ata_device/dev*/dma_mode; cat /sys/class/ata_device/dev*/xfer_mode
echo "=== problems"; dmesg | grep -i -E 'ata[0-9]|sr[0-9]|sda' | grep -i -E 'exception|error|fail|timeout|lost|slow'
echo "=== end"; poweroff -f
"""


def run(*words: str | Path) -> None:
    if which(str(words[0])) is None and not Path("/sbin", str(words[0])).exists():
        pytest.skip(f"no {words[0]} on this host")
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def generic() -> KernelImage:
    return fetched(GENERIC)


Archive = Callable[[str], Path]


@pytest.fixture(scope="module")
def archive(generic: KernelImage, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Makes an initramfs that does what it is told, with the drivers of drives."""
    folder = tmp_path_factory.mktemp("drives")

    @cache
    def build(commands: str) -> Path:
        number = sum(1 for _ in folder.iterdir())
        init = folder / f"{number}.init"
        init.write_text(f"#!/bin/sh\n. /etc/innkeeper/setup\n{commands}\n")
        recipe = InitramfsRecipe(init=init, modules=MODULES, modules_directory=generic.modules)
        try:
            return build_initramfs(recipe, folder / f"{number}.gz")
        except ImageError as error:
            pytest.skip(f"no initramfs: {error}")

    return build


@pytest.fixture
def media(tmp_path: Path) -> tuple[Path, Path, str]:
    """An ISO and an ext4 image of the same files, and the checksum of the large one."""
    tree = tmp_path / "tree"
    tree.mkdir()
    data = random.Random(4).randbytes(6_000_001)
    sums = {"big.bin": data, "small.txt": b"hello\n"}
    for name, content in sums.items():
        (tree / name).write_bytes(content)
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sums.items()]
    (tree / "SUMS").write_text("".join(lines))
    iso, disk = tmp_path / "a.iso", tmp_path / "disk.img"
    run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "A_DISC", "-o", iso, tree)
    disk.write_bytes(b"")
    with disk.open("r+b") as file:
        file.truncate(64 << 20)
    run("mkfs.ext4", "-q", "-F", "-d", tree, disk)
    return iso, disk, hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("bus", ["ide", "sata"])
def test_files_are_whole_on_disk_and_disc(
    bus: str, generic: KernelImage, archive: Archive, media: tuple[Path, Path, str], engine: EngineChoice
) -> None:
    iso, disk, total = media
    drives = ["--disk", f"path={disk},bus={bus},format=raw", "--disk", f"path={iso},device=cdrom,bus={bus}"]
    done = inn_run(*guest(generic.vmlinuz, archive(LOOK), append="console=ttyS0 quiet", engine=engine), *drives)
    assert done.status == 0, done.said[-2000:] + done.complaint
    assert "CD-0" in done.lines
    assert "DISK-0" in done.lines
    assert f"{total}  /disk/copy.bin" in done.lines
    assert "DMA" in done.said, "no DMA was chosen"
    problems = done.said.partition("=== problems\n")[2].partition("=== end")[0]
    assert not problems, problems
    run("e2fsck", "-fn", disk)


KEEP = """
mkdir -p /disk; mount -t ext4 /dev/sda /disk
for i in $(seq 200); do echo line-$i; done >/disk/kept; sync /disk/kept; sync -f /disk
echo flushed; while true; do dd if=/dev/zero of=/disk/other bs=4k count=500 conv=fsync 2>/dev/null; done
"""


@pytest.mark.parametrize("bus", ["ide", "sata"])
def test_what_was_flushed_survives_the_end_of_our_process(
    bus: str, generic: KernelImage, archive: Archive, media: tuple[Path, Path, str]
) -> None:
    _, disk, _ = media
    options = guest(generic.vmlinuz, archive(KEEP))
    with inn_piped(*options, "--disk", f"path={disk},bus={bus},format=raw") as running:
        running.line.wait_for("flushed", limit_s=120)
        running.signal(signal.SIGKILL)
        running.status()
    subprocess.run(["e2fsck", "-fy", "-E", "journal_only", disk], capture_output=True, check=False, timeout=60)
    run("e2fsck", "-fn", disk)
    kept = subprocess.run(["debugfs", "-R", "cat kept", disk], capture_output=True, text=True, check=True, timeout=60)
    assert kept.stdout.split() == [f"line-{i}" for i in range(1, 201)]


SLEEP = """
mkdir -p /disk; mount -t ext4 /dev/sda /disk
if [ -e /disk/kept ]; then grep -c line /disk/kept; echo again; poweroff -f; fi
echo 0 >/sys/class/rtc/rtc0/wakealarm; echo +2 >/sys/class/rtc/rtc0/wakealarm
(while true; do dd if=/dev/sda of=/dev/null bs=64k count=100 iflag=direct 2>/dev/null; done) &
echo mem >/sys/power/state && echo woken
echo line >/disk/kept; sync; dd if=/dev/sda of=/dev/null bs=64k count=10 iflag=direct 2>/dev/null && echo read
dd if=/dev/sr0 of=/dev/null bs=64k count=10 2>/dev/null && echo disc
echo b >/proc/sysrq-trigger; sleep 60
"""


@pytest.mark.parametrize("bus", ["ide", "sata"])
def test_drives_work_after_a_sleep_and_a_reset(
    bus: str, generic: KernelImage, archive: Archive, media: tuple[Path, Path, str]
) -> None:
    iso, disk, _ = media
    drives = ["--disk", f"path={disk},bus={bus},format=raw", "--disk", f"path={iso},device=cdrom,bus={bus}"]
    done = inn_run(*guest(generic.vmlinuz, archive(SLEEP)), *drives)
    assert done.status == 0, done.complaint + done.said[-2000:]
    assert [word for word in ("woken", "read", "disc", "again") if word not in done.lines] == []
    run("e2fsck", "-fn", disk)


CHANGE = """
mkdir -p /cd; mount -t iso9660 -o ro /dev/sr0 /cd && cat /cd/small.txt && echo mounted; read -r _
umount /cd; echo free; read -r _
for i in $(seq 50); do mount -t iso9660 -o ro /dev/sr0 /cd 2>/dev/null && break; sleep 0.1; done
cat /cd/other.txt; umount /cd; poweroff -f
"""


def test_a_disc_is_changed_while_the_guest_runs(
    generic: KernelImage, archive: Archive, media: tuple[Path, Path, str], tmp_path: Path
) -> None:
    iso, _, _ = media
    tree, other = tmp_path / "second", tmp_path / "second.iso"
    tree.mkdir()
    (tree / "other.txt").write_text("another disc\n")
    run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "SECOND", "-o", other, tree)
    config = MachineConfig(
        kernel=generic.vmlinuz,
        initrd=archive(CHANGE),
        append="console=ttyS0 quiet",
        disks=(DiskConfig.cdrom(iso),),
        timeout_s=LIMIT_S,
    )
    console = MemoryConsole()
    with Machine(config, console=console) as machine:
        machine.start()
        console.wait_for(b"mounted", timeout_s=LIMIT_S)
        with pytest.raises(InnkeeperError, match="locked"):
            machine.change_media(other)
        machine.write_console(b"\n")
        console.wait_for(b"free", timeout_s=60)
        machine.change_media(other)
        machine.write_console(b"\n")
        console.wait_for(b"another disc", timeout_s=60)
        assert machine.wait().kind is OutcomeKind.POWERED_OFF
