"""Opens a kernel file and finds out by which protocol it starts."""

from pathlib import Path

from innkeeper.errors import BootError
from innkeeper.firmware import elf, multiboot, pvh
from innkeeper.firmware.base import KernelImage
from innkeeper.firmware.files import read_file
from innkeeper.firmware.linux import BzImage

PACKED = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x02\x21\x4c\x18": "lz4",
    b"\x04\x22\x4d\x18": "lz4",
}


def open_kernel(path: Path) -> KernelImage:
    """Raises `BootError` if it cannot be read or is of no format that starts here."""
    data = read_file(path, "kernel")
    if BzImage.recognises(data):
        return BzImage(path, data)
    if data.startswith(elf.MAGIC):
        image = elf.ElfImage(path, data)
        if pvh.find_entry(image) is not None:
            return pvh.PvhImage(image)
    if multiboot.find_header(data) is not None:
        return multiboot.MultibootImage(path, data)
    raise BootError(f"kernel {path} {_what_it_is(data)}; it must be a bzImage, a PVH ELF file or a multiboot file")


def open_bzimage(path: Path) -> BzImage:
    """What UEFI can be handed. Raises `BootError` if it is anything else."""
    data = read_file(path, "kernel")
    if not BzImage.recognises(data):
        raise BootError(f"kernel {path} is no bzImage, and UEFI is handed no other; leave out one of them")
    return BzImage(path, data)


def _what_it_is(data: bytes) -> str:
    if data.startswith(elf.MAGIC):
        return "is an ELF file with neither a PVH note nor a multiboot header"
    for magic, name in PACKED.items():
        if data.startswith(magic):
            return f"is packed with {name}"
    return f"is of an unknown format (it begins with {data[:4].hex(' ')})"
