"""Kernel files made to measure."""

import struct
from pathlib import Path

import pytest

from innkeeper.firmware import BootPlan, MapEntry, MapKind
from innkeeper.memory import FlatMemory

MIB = 1 << 20
MEMORY_MIB = 16


def plan(**changes: object) -> BootPlan:
    """16 MiB of RAM and a command line, unless told otherwise."""
    values: dict[str, object] = {
        "command_line": "console=ttyS0",
        "memory_map": (
            MapEntry(0, 0x9FC00, MapKind.RAM),
            MapEntry(0xF0000, 0x10000, MapKind.RESERVED),
            MapEntry(MIB, (MEMORY_MIB - 1) * MIB, MapKind.RAM),
        ),
        "rsdp": 0xF0000,
        **changes,
    }
    return BootPlan(**values)  # type: ignore[arg-type]


@pytest.fixture
def memory() -> FlatMemory:
    return FlatMemory([(0, 0xA0000), (0xC0000, 0x40000), (MIB, (MEMORY_MIB - 1) * MIB)])


def bzimage(code: bytes = b"\x90" * 4096, /, **changes: int) -> bytes:
    """A bzImage of protocol 2.15 whose protected-mode part is `code`."""
    fields = {
        "version": 0x020F,
        "preferred": 2 * MIB,
        "needed": len(code),
        "alignment": 2 * MIB,
        "relocatable": 1,
        "xloadflags": 1,
        "initrd_highest": 0x7FFF_FFFF,
        "command_line_limit": 2047,
        **changes,
    }
    setup = bytearray(2 * 512)
    setup[0x1F1] = 1
    struct.pack_into("<I", setup, 0x1F4, len(code) // 16)
    struct.pack_into("<H", setup, 0x1FE, 0xAA55)
    setup[0x200:0x206] = b"\xeb\x6aHdrS"
    struct.pack_into("<H", setup, 0x206, fields["version"])
    struct.pack_into("<I", setup, 0x22C, fields["initrd_highest"])
    struct.pack_into("<I", setup, 0x230, fields["alignment"])
    setup[0x234] = fields["relocatable"]
    struct.pack_into("<H", setup, 0x236, fields["xloadflags"])
    struct.pack_into("<I", setup, 0x238, fields["command_line_limit"])
    struct.pack_into("<QI", setup, 0x258, fields["preferred"], fields["needed"])
    return bytes(setup) + code


def elf64(segments: list[tuple[int, bytes, int]], entry: int = MIB, note: bytes = b"", machine: int = 62) -> bytes:
    """An ELF file: segments as (physical address, content, size in memory), and a note's whole bytes."""
    count = len(segments) + bool(note)
    at = 64 + 56 * count
    headers, body = b"", b""
    for physical, content, size in segments:
        headers += struct.pack("<IIQQQQQQ", 1, 7, at + len(body), physical, physical, len(content), size, 4096)
        body += content
    if note:
        headers += struct.pack("<IIQQQQQQ", 4, 4, at + len(body), 0, 0, len(note), len(note), 4)
        body += note
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = struct.pack("<16sHHIQQQIHHHHHH", ident, 2, machine, 1, entry, 64, 0, 0, 64, 56, count, 0, 0, 0)
    return head + headers + body


def pvh_note(entry: int) -> bytes:
    other = struct.pack("<III4s8s", 4, 8, 6, b"Xen\0", b"generic\0")
    return other + struct.pack("<III4sI", 4, 4, 18, b"Xen\0", entry)


def multiboot_header(flags: int = 3, addresses: tuple[int, ...] = ()) -> bytes:
    magic = 0x1BADB002
    return struct.pack(f"<{3 + len(addresses)}I", magic, flags, -(magic + flags) & 0xFFFF_FFFF, *addresses)


@pytest.fixture
def kernel_file(tmp_path: Path) -> Path:
    return tmp_path / "kernel"
