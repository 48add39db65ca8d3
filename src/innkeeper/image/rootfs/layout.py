"""The disk: a GUID partition table, GRUB for BIOS and for UEFI, and the root file system last, so that it can grow.

Spec: UEFI 2.10, chapter 5; for the two places where GRUB's own installer writes sector numbers, its source
(`boot.S`, `diskboot.S`). Left out: anything but 512-byte sectors.
"""

import struct
from pathlib import Path
from uuid import UUID

from innkeeper.errors import ImageError
from innkeeper.image.packages import run
from innkeeper.records import dataclass

SECTOR = 512
MIB = 1 << 20
TYPES = {
    "bios": "21686148-6449-6E6F-744E-656564454649",
    "esp": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "root": "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",  # x86-64 root, by the Discoverable Partitions Specification
}
BIOS_START, BIOS_BYTES = 1 * MIB, 1 * MIB
ESP_BYTES = 48 * MIB
BACKUP_TABLE_BYTES = 1 * MIB  # 33 sectors, and the alignment

BOOT_CODE_BYTES = 440  # of sector 0; then come the disk's signature and the partition table
KERNEL_SECTOR = 0x5C  # in boot.img: where the core image begins
DRIVE_CHECK = slice(0x66, 0x68)  # in boot.img: a jump that only floppies need
BLOCK_LIST = 0x1F4  # in the core image's first sector: where the rest is, how much, and its segment
CORE_SEGMENT = 0x820


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are on a disk of `size` bytes, in bytes."""

    size: int

    @property
    def esp(self) -> tuple[int, int]:
        """Start and size of the EFI system partition."""
        return BIOS_START + BIOS_BYTES, ESP_BYTES

    @property
    def root(self) -> tuple[int, int]:
        start = sum(self.esp)
        return start, self.size - BACKUP_TABLE_BYTES - start

    def write_table(self, image: Path, root_uuid: UUID) -> None:
        """Puts the partition table into the file. Raises `ImageError`."""
        rows = [
            ("bios", BIOS_START, BIOS_BYTES, ""),
            ("esp", *self.esp, ""),
            ("root", *self.root, f", uuid={root_uuid}"),
        ]
        script = "label: gpt\n" + "".join(
            f"start={start // SECTOR}, size={size // SECTOR}, type={TYPES[name]}, name={name}{more}\n"
            for name, start, size, more in rows
        )
        run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", str(image)], words=script)


def write_grub(image: Path, boot: bytes, core: bytes) -> None:
    """Puts GRUB for BIOS into the first sector and the BIOS boot partition. Raises `ImageError`."""
    if len(boot) != SECTOR or len(core) > BIOS_BYTES or len(core) < 2 * SECTOR:
        raise ImageError(f"GRUB's images have {len(boot)} and {len(core)} bytes; that is not what its installer writes")
    first = BIOS_START // SECTOR
    code = bytearray(boot[:BOOT_CODE_BYTES])
    struct.pack_into("<Q", code, KERNEL_SECTOR, first)
    code[DRIVE_CHECK] = b"\x90\x90"
    core = core.ljust(-(-len(core) // SECTOR) * SECTOR, b"\0")
    listed = struct.pack("<QHH", first + 1, len(core) // SECTOR - 1, CORE_SEGMENT)
    with image.open("r+b") as file:
        file.write(code)
        file.seek(BIOS_START)
        file.write(core[:BLOCK_LIST] + listed + core[BLOCK_LIST + len(listed) :])
