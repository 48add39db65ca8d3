"""What is added to the initial RAM disk of Debian's network installer, so that it installs from a disc.

Debian's own parts for a disc are packages of the installer's (udebs), put in as the installer would unpack them: kernel modules and the
base system's installer. Finding the disc, preparing the disk and finishing are scripts of ours in `steps/`, which obey the usual
answers of a preseed file; they call Debian's tools for ordinary systems (debootstrap, user-setup, sfdisk, mke2fs). Left out: what
partman can (several partitions, RAID, LVM, encryption), and a network during the installation.
"""

import gzip
import stat
import struct
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from innkeeper.errors import ImageError
from innkeeper.image.cpio import Archive
from innkeeper.image.packages import run

UDEBS = ("base-installer", "bootstrap-base")
MODULES = (
    "cdrom-core-modules",
    "isofs-modules",
    "ata-modules",
    "sata-modules",
    "scsi-modules",
    "ext4-modules",
    "efi-modules",
)
TOOLS = (
    "debootstrap",
    "user-setup",
    "fdisk",
    "libfdisk1",
    "libsmartcols1",
    "e2fsprogs",
    "libext2fs2",
    "libcom-err2",
    "dosfstools",
)
KEPT = (
    "usr/sbin/debootstrap",
    "usr/share/debootstrap/",
    "usr/lib/user-setup/",
    "sbin/sfdisk",
    "sbin/mke2fs",
    "sbin/mkfs.fat",
    "etc/mke2fs.conf",
    "lib/",
    "usr/lib/x86_64-linux-gnu/",
)
"""Of the tools' packages: programs and libraries, no documentation."""
NEEDED_MODULES = (
    "cdrom", "sr_mod", "isofs", "libata", "ata_piix", "ahci", "libahci", "virtio_blk", "virtio_scsi", "sg", "ext4", "jbd2", "efivarfs",
)  # fmt: skip
"""What virtual machines have; the controllers of real ones stay out."""

LONGEST_RELEASE = 65
INFO = "/var/lib/dpkg/info"
STEPS = {
    "innkeeper-disc": ("disc.sh", 1300, "Depends: cdebconf-udeb"),
    "innkeeper-disk": (
        "disk.sh",
        5000,
        "Depends: cdebconf-udeb, innkeeper-disc\nProvides: mounted-partitions, created-fstab, harddrive-detection",
    ),
    "innkeeper-finish": ("finish.sh", 7900, "Depends: cdebconf-udeb, bootstrap-base"),
}
"""Our parts of the installer's menu: the script, its place there, what it needs and provides."""
STANDINS = ("debootstrap-udeb", "di-utils-mapdevfs")  # what Debian's parts depend on, and our tools do
MAPDEVFS = b'#!/bin/sh\nreadlink -f "$1"\n'


def kernel_release(kernel: Path) -> str:
    """What `uname -r` says of a bzImage (Linux x86 boot protocol, kernel_version)."""
    data = kernel.read_bytes()
    if data[0x202:0x206] != b"HdrS":
        raise ImageError(f"{kernel} is no Linux kernel")
    (at,) = struct.unpack_from("<H", data, 0x20E)
    return data[0x200 + at : 0x200 + at + LONGEST_RELEASE].split(b" ", 1)[0].decode("ascii", "replace")


def needed(release: str) -> list[str]:
    """The packages of which `additions` is made."""
    return [*UDEBS, *(f"{name}-{release}-di" for name in MODULES), *TOOLS]


def additions(packages: list[Path]) -> bytes:
    """A second archive, which the kernel unpacks over the first."""
    archive, stanzas = Archive(), []
    for package in packages:
        with TemporaryDirectory() as folder:
            root = Path(folder)
            run(["dpkg-deb", "--raw-extract", str(package), str(root)])
            tool = package.suffix == ".deb"
            add_files(archive, root, KEPT if tool else ("",))
            name = package.name.split("_", 1)[0]
            add_control(
                archive, root / "DEBIAN", name, ("templates",) if tool else ("templates", "postinst", "isinstallable")
            )
            if not tool:
                stanzas.append(paragraph((root / "DEBIAN" / "control").read_text()))
    add_steps(archive, stanzas)
    archive.add_file("/var/lib/dpkg/innkeeper-status", "\n".join([*stanzas, ""]).encode())
    return gzip.compress(archive.to_bytes(), 6, mtime=0)


def paragraph(control: str) -> str:
    head, rest = control.split("\n", 1)
    return f"{head}\nStatus: install ok unpacked\n{rest.rstrip()}\n"


def add_steps(archive: Archive, stanzas: list[str]) -> None:
    steps = files("innkeeper.image.installer") / "steps"
    for name, (script, place, relations) in STEPS.items():
        archive.add_file(f"{INFO}/{name}.postinst", (steps / script).read_bytes(), permissions=0o755)
        about = f"Version: 1\nArchitecture: all\nInstaller-Menu-Item: {place}\n{relations}\nDescription: {name}"
        stanzas.append(paragraph(f"Package: {name}\n{about}"))
    about = "Version: 1\nArchitecture: all\nDescription: stands in"
    stanzas.extend(paragraph(f"Package: {name}\n{about}") for name in STANDINS)
    archive.add_file(f"{INFO}/innkeeper-disc.templates", (steps / "templates").read_bytes())
    archive.add_file("/bin/mapdevfs", MAPDEVFS, permissions=0o755)
    archive.add_file("/lib/debian-installer-startup.d/S03innkeeper", (steps / "startup.sh").read_bytes())


def add_control(archive: Archive, control: Path, name: str, kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        if (control / kind).exists():
            permissions = 0o644 if kind == "templates" else 0o755
            archive.add_file(f"{INFO}/{name}.{kind}", (control / kind).read_bytes(), permissions=permissions)


def add_files(archive: Archive, root: Path, kept: tuple[str, ...]) -> None:
    for path in sorted(root.rglob("*")):
        place = str(path.relative_to(root))
        if place.startswith("DEBIAN") or not place.startswith(kept) or not belongs(path):
            continue
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            archive.add_symlink(f"/{place}", str(path.readlink()))
        elif stat.S_ISREG(status.st_mode):
            archive.add_file(f"/{place}", path.read_bytes(), permissions=stat.S_IMODE(status.st_mode))


def belongs(path: Path) -> bool:
    return path.suffix != ".ko" or path.stem.replace("-", "_") in NEEDED_MODULES
