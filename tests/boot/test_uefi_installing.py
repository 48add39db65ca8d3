"""Installing under UEFI: from a disc, which leaves a boot entry in the firmware's variables as installers do; and from the network."""

import shutil
import struct
import subprocess
from pathlib import Path
from uuid import UUID

import pytest

from innkeeper.config import (
    BootConfig,
    BootDevice,
    EngineChoice,
    FirmwareConfig,
    FirmwareKind,
    MachineConfig,
    NetworkConfig,
)
from innkeeper.console import MemoryConsole
from innkeeper.image import KernelImage
from innkeeper.machine import Machine, OutcomeKind

from .conftest import Initramfs
from .inn import ended
from .test_uefi import needs_ovmf
from .test_ways_to_install import BLOCK, QUIET, Home, home, run

__all__ = ["home"]  # a fixture
pytestmark = [pytest.mark.boot, pytest.mark.slow, needs_ovmf]

GRUB = Path("/usr/lib/grub/x86_64-efi/monolithic")
needs_grub = pytest.mark.skipif(not GRUB.exists(), reason="no GRUB for UEFI; Debian's package is grub-efi-amd64-bin")
PARTITION = UUID("11111111-2222-3333-4444-555555555555")
SECTOR, START, COUNT = 512, 2048, 20480
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
NUMBER = 0x0099
ATTRIBUTES = struct.pack("<I", 7)  # kept, seen at boot time and at run time


def octal(data: bytes) -> str:
    return "".join(f"\\{byte:03o}" for byte in data)


def load_option(title: str, path: str) -> bytes:
    """A boot entry for a file of the partition (UEFI 2.10, 3.1.3, 10.3.5)."""
    disk = struct.pack("<BBHIQQ16sBB", 4, 1, 42, 1, START, COUNT, PARTITION.bytes_le, 2, 2)
    name = f"{path}\0".encode("utf-16-le")
    paths = disk + struct.pack("<BBH", 4, 4, 4 + len(name)) + name + bytes([0x7F, 0xFF, 4, 0])
    return struct.pack("<IH", 1, len(paths)) + f"{title}\0".encode("utf-16-le") + paths


ENTRY = octal(ATTRIBUTES + load_option("installed", "\\EFI\\debian\\grubx64.efi"))
FIRST = octal(ATTRIBUTES + struct.pack("<H", NUMBER))
INSTALLS = f"""
cat /dev/vdb >/dev/vda && sync && echo copied
mount -t efivarfs efivarfs /sys/firmware/efi/efivars
cd /sys/firmware/efi/efivars
put() {{ dd if=/tmp/value of="$1-{GLOBAL}" bs=4096 2>/dev/null && echo "put $1"; }}
printf '{ENTRY}' >/tmp/value
put Boot{NUMBER:04X}
{{ printf '{FIRST}'; tail -c +5 BootOrder-{GLOBAL}; }} >/tmp/value
put BootOrder
reboot -f
"""


def make_disc(folder: Path, kernel: Path, initrd: Path) -> Path:
    """One whose EFI boot image has GRUB, which finds its menu on the disc as those of Debian do."""
    root = folder / "root"
    grub = root / "boot/grub"
    grub.mkdir(parents=True)
    (root / ".disk").mkdir()
    (root / ".disk/mini-info").write_text("a disc of a test\n")
    shutil.copy(kernel, root / "kernel")
    shutil.copy(initrd, root / "initrd")
    (grub / "grub.cfg").write_text(f"linux /kernel {QUIET}\ninitrd /initrd\nboot\n")
    run("mformat", "-C", "-T", "12288", "-i", str(grub / "efi.img"), "::")
    run("mmd", "-i", str(grub / "efi.img"), "::/EFI", "::/EFI/BOOT")
    run("mcopy", "-i", str(grub / "efi.img"), str(GRUB / "gcdx64.efi"), "::/EFI/BOOT/BOOTX64.EFI")
    disc = folder / "disc.iso"
    run(
        "xorriso",
        "-as",
        "mkisofs",
        "-quiet",
        "-r",
        "-o",
        str(disc),
        "-e",
        "boot/grub/efi.img",
        "-no-emul-boot",
        str(root),
    )
    return disc


def make_disk(path: Path, words: str) -> None:
    """What is installed: a system partition with GRUB where only a boot entry finds it."""
    with path.open("wb") as file:
        file.truncate((START + COUNT + 2048) * SECTOR)
    table = f"label: gpt\nstart={START}, size={COUNT}, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid={PARTITION}\n"
    subprocess.run(["/usr/sbin/sfdisk", "--quiet", str(path)], input=table, text=True, check=True)
    (path.parent / "grub.cfg").write_text(words)
    place = f"{path}@@{START * SECTOR}"
    run("mformat", "-T", str(COUNT), "-i", place, "::")
    run("mmd", "-i", place, "::/EFI", "::/EFI/debian")
    run("mcopy", "-i", place, str(GRUB / "grubx64.efi"), str(path.parent / "grub.cfg"), "::/EFI/debian")


@needs_grub
def test_what_a_disc_installs_starts_by_its_entry_in_the_variables(
    home: Home, debian: KernelImage, initramfs: Initramfs
) -> None:
    disc = make_disc(home.home, debian.vmlinuz, initramfs(INSTALLS, modules=(*BLOCK, "efivarfs")))
    source = home.home / "source"
    make_disk(source, "echo what was installed has started\nhalt\n")
    size = source.stat().st_size / (1 << 30)
    disks = ["--disk", f"{home.home}/disk.qcow2,size={size}", "--disk", f"path={source},format=raw,readonly=on"]
    said = home.install("--boot", "uefi", "--cdrom", str(disc), *disks, "--wait")
    assert "Domain installation completed" in said
    assert "copied\nput Boot0099\nput BootOrder\n" in home.said
    home.wait_for("what was installed has started")
    assert home.said.count("copied") == 1
    assert 'BdsDxe: starting Boot0099 "installed"' in home.said
    home.wait_for_state("shut off")
    assert "installed".encode("utf-16-le") in (home.home / "state/innkeeper/one.nvram").read_bytes()
    assert home.scratch == []


LOCATED = """
[ -d /sys/firmware/efi ] && echo by UEFI
cat /proc/cmdline
"""


@needs_grub
def test_a_location_installs_by_uefi(home: Home, debian: KernelImage, initramfs: Initramfs) -> None:
    """The installer's kernel is handed to the firmware, and what it puts into the variables is there afterwards."""
    tree = home.home / "tree/install.amd"
    tree.mkdir(parents=True)
    shutil.copy(debian.vmlinuz, tree / "vmlinuz")
    shutil.copy(initramfs(LOCATED + INSTALLS, modules=(*BLOCK, "efivarfs")), tree / "initrd.gz")
    source = home.home / "source"
    make_disk(source, "echo what was installed has started\nhalt\n")
    size = source.stat().st_size / (1 << 30)
    disks = ["--disk", f"{home.home}/disk.qcow2,size={size}", "--disk", f"path={source},format=raw,readonly=on"]
    more = ["--location", str(tree.parent), "--extra-args", "anew quiet cryptomgr.notests"]
    home.install("--boot", "uefi", *more, *disks, "--wait")
    assert "by UEFI\n" in home.said
    assert "anew quiet cryptomgr.notests" in home.said
    assert "copied\nput Boot0099\nput BootOrder\n" in home.said
    home.wait_for("what was installed has started")
    assert 'BdsDxe: starting Boot0099 "installed"' in home.said
    home.wait_for_state("shut off")
    assert home.scratch == []


@needs_grub
def test_the_network_boots_grub_by_ovmf_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a host without iPXE: the file is the one for the firmware's architecture, and GRUB fetches its menu with the same lease."""
    monkeypatch.setattr("innkeeper.machine.network.network_rom", lambda _model: None)
    shutil.copy(GRUB / "grubnetx64.efi", tmp_path)
    (tmp_path / "pxelinux.0").write_text("of another architecture")
    (tmp_path / "grub").mkdir()
    (tmp_path / "grub/grub.cfg").write_text("echo at $net_default_ip by $net_default_server\nhalt\n")
    console = MemoryConsole()
    config = MachineConfig(
        memory_mib=256,
        engine=EngineChoice.BT,
        firmware=FirmwareConfig(kind=FirmwareKind.UEFI),
        boot=BootConfig(order=(BootDevice.NETWORK,)),
        networks=(NetworkConfig(tftp=tmp_path),),
        timeout_s=120,
    )
    with Machine(config, console=console) as machine:
        machine.start()
        console.wait_for(b"NBP filename is grubnetx64.efi", timeout_s=90)
        console.wait_for(b"at 10.0.2.15 by 10.0.2.2", timeout_s=60)
        assert ended(machine, console, 60).kind is OutcomeKind.POWERED_OFF
