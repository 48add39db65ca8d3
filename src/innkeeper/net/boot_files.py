"""Files by which folders for network boot are known: what a guest starts that no `bootfile=` is meant for.

Spec: RFC 4578, 2.1, with its erratum: 64-bit UEFI says that it is 7, and some 9 as the RFC first had it. The names are those of SYSLINUX,
of GRUB and where its grub-mknetdir puts it, of iPXE, and of the tree of Debian's network installer. Left out: 32-bit UEFI, and UEFI
that boots by HTTP.
"""

from pathlib import Path

BIOS = 0
UEFI = (7, 9)
OF_BIOS = (
    "pxelinux.0",
    "lpxelinux.0",
    "debian-installer/amd64/pxelinux.0",
    "boot/grub/i386-pc/core.0",
    "undionly.kpxe",
)
OF_UEFI = (
    "bootnetx64.efi",
    "debian-installer/amd64/bootnetx64.efi",
    "shimx64.efi",
    "bootx64.efi",
    "grubnetx64.efi.signed",
    "grubnetx64.efi",
    "grubx64.efi",
    "boot/grub/x86_64-efi/core.efi",
    "EFI/BOOT/BOOTX64.EFI",
    "syslinux.efi",
    "ipxe.efi",
    "snponly.efi",
)


def known() -> list[tuple[int, str]]:
    """Each with the architecture of the guests that start it."""
    return [(BIOS, name) for name in OF_BIOS] + [(number, name) for number in UEFI for name in OF_UEFI]


def first_in(folder: Path, *, uefi: bool) -> str | None:
    """What such a guest starts from the folder; None if nothing in it is known."""
    return next((name for name in (OF_UEFI if uefi else OF_BIOS) if (folder / name).is_file()), None)
