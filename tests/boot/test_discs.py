"""What SeaBIOS boots: an installer's disc by El Torito, GRUB from disks, memtest86+."""

import shutil
import subprocess
from pathlib import Path

import pytest

from innkeeper.config import (
    BootConfig,
    BootDevice,
    DiskBus,
    DiskConfig,
    EngineChoice,
    MachineConfig,
    NetworkConfig,
    NetworkKind,
    VideoModel,
)
from innkeeper.config.disk import DiskFormat
from innkeeper.console import MemoryConsole
from innkeeper.machine import Machine

pytestmark = pytest.mark.boot
ROOT = Path(__file__).resolve().parents[2]
GRUB = Path("/usr/lib/grub-rescue/grub-rescue-cdrom.iso")  # a disc that is a disk too
MEMTEST = Path("/boot/memtest86+x64.bin")
ISOLINUX = Path("/usr/lib/ISOLINUX/isolinux.bin")
MODULES = Path("/usr/lib/syslinux/modules/bios")
INSTALLER = Path("/usr/lib/debian-installer/images/12/amd64/text")
NEEDS = {
    "seabios": Path("/usr/share/seabios/bios-256k.bin"),
    "isolinux": ISOLINUX,
    "syslinux-common": MODULES / "ldlinux.c32",
    "grub-rescue-pc": GRUB,
    "ipxe-qemu": Path("/usr/lib/ipxe/qemu/efi-virtio.rom"),
    "memtest86+": MEMTEST,
    "debian-installer-12-netboot-amd64": INSTALLER,
}


def need(*packages: str) -> None:
    missing = [package for package in packages if not NEEDS[package].exists()]
    if missing or shutil.which("xorriso") is None:
        pytest.skip(f"Debian's packages are not there: {', '.join(missing or ['xorriso'])}")


def boots(config: MachineConfig, *words: bytes, timeout_s: float = 60) -> bytes:
    """Everything said on the serial line until the last of `words`, which come in this order."""
    console = MemoryConsole()
    with Machine(config, console=console) as machine:
        machine.start()
        for word in words:
            console.wait_for(word, timeout_s=timeout_s)
        return console.output


def make_disc(directory: Path, kernel: Path, append: str, initrd: Path | None = None) -> Path:
    """A disc whose ISOLINUX starts a kernel at once."""
    root = directory / "root"
    root.mkdir()
    for source, name in ((ISOLINUX, "isolinux.bin"), (MODULES / "ldlinux.c32", "ldlinux.c32"), (kernel, "kernel")):
        shutil.copy(source, root / name)
    more = "" if initrd is None else " initrd initrd\n"
    if initrd is not None:
        shutil.copy(initrd, root / "initrd")
    (root / "isolinux.cfg").write_text(f"default start\nlabel start\n linux kernel\n append {append}\n{more}")
    catalogue = ("-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table")
    arguments = ("-as", "mkisofs", "-quiet", "-o", directory / "disc.iso", "-b", "isolinux.bin", *catalogue, root)
    subprocess.run(("xorriso", *arguments), check=True, capture_output=True)
    return directory / "disc.iso"


def test_an_installers_disc_boots_to_its_menu(tmp_path: Path) -> None:
    need("seabios", "isolinux", "syslinux-common", "debian-installer-12-netboot-amd64")
    disc = tmp_path / "installer.iso"
    subprocess.run((ROOT / "scripts/make-installer-iso", disc), check=True, capture_output=True)
    config = MachineConfig(
        memory_mib=256, engine=EngineChoice.BT, video=VideoModel.NONE, disks=(DiskConfig.cdrom(disc),), timeout_s=90
    )
    boots(config, b"Booting from DVD/CD...", b"ISOLINUX", b"Debian GNU/Linux installer menu (BIOS mode)")


@pytest.mark.parametrize("bus", [DiskBus.VIRTIO, DiskBus.IDE])
def test_grub_boots_from_a_disk(tmp_path: Path, bus: DiskBus) -> None:
    need("seabios", "grub-rescue-pc")
    disk = Path(shutil.copy(GRUB, tmp_path / "disk.img"))
    config = MachineConfig(
        memory_mib=128,
        engine=EngineChoice.BT,
        video=VideoModel.NONE,
        disks=(DiskConfig(path=disk, bus=bus, format=DiskFormat.RAW),),
        boot=BootConfig(order=(BootDevice.HD,)),
        timeout_s=90,
    )
    boots(config, b"Booting from Hard Disk...", b"GNU GRUB", b"entry will be executed automatically")


def test_memtest_finds_no_error_in_64_mib(tmp_path: Path) -> None:
    """All tests but the last, which waits for minutes to see bits fade."""
    need("seabios", "isolinux", "syslinux-common", "memtest86+")
    disc = make_disc(tmp_path, MEMTEST, "console=ttyS0,115200")
    config = MachineConfig(
        memory_mib=64, engine=EngineChoice.BT, video=VideoModel.NONE, disks=(DiskConfig.cdrom(disc),), timeout_s=240
    )
    said = boots(config, b"Memtest86+", b"Bit fade test", timeout_s=200)
    assert b"Errors: 0" in said
    assert b"Failing" not in said


def test_ipxe_gets_an_address_from_a_users_network() -> None:
    need("seabios", "ipxe-qemu")
    config = MachineConfig(
        memory_mib=128,
        engine=EngineChoice.BT,
        video=VideoModel.NONE,
        networks=(NetworkConfig(kind=NetworkKind.USER),),
        boot=BootConfig(order=(BootDevice.NETWORK,)),
        timeout_s=90,
    )
    boots(config, b"Booting from ROM...", b"net0: 10.0.2.15/255.255.255.0", b"Nothing to boot")
