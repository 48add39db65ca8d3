"""Disks and CD-ROM drives under Debian's generic kernel: whole files read and written through its own drivers."""

import hashlib
import random
import subprocess
from pathlib import Path
from shutil import which

import pytest

from innkeeper import ImageError
from innkeeper.config import EngineChoice
from innkeeper.image import InitramfsRecipe, KernelImage, build_initramfs

from .conftest import fetched
from .inn import guest, inn_run

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


@pytest.fixture(scope="module")
def archive(generic: KernelImage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drives")
    (folder / "init").write_text(f"#!/bin/sh\n. /etc/innkeeper/setup\n{LOOK}\n")
    recipe = InitramfsRecipe(init=folder / "init", modules=MODULES, modules_directory=generic.modules)
    try:
        return build_initramfs(recipe, folder / "initramfs")
    except ImageError as error:
        pytest.skip(f"no initramfs: {error}")


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
    bus: str, generic: KernelImage, archive: Path, media: tuple[Path, Path, str], engine: EngineChoice
) -> None:
    iso, disk, total = media
    drives = ["--disk", f"path={disk},bus={bus},format=raw", "--disk", f"path={iso},device=cdrom,bus={bus}"]
    done = inn_run(*guest(generic.vmlinuz, archive, append="console=ttyS0 quiet", engine=engine), *drives)
    assert done.status == 0, done.said[-2000:] + done.complaint
    assert "CD-0" in done.lines
    assert "DISK-0" in done.lines
    assert f"{total}  /disk/copy.bin" in done.lines
    assert "DMA" in done.said, "no DMA was chosen"
    problems = done.said.partition("=== problems\n")[2].partition("=== end")[0]
    assert not problems, problems
    run("e2fsck", "-fn", disk)
