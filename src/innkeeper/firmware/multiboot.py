"""Multiboot (version 1): ELF files and flat images that carry their own load addresses.

Spec: "Multiboot Specification version 0.6.96". A multiboot loader runs on a BIOS, whose traces some
kernels expect to find (see `legacy`). Left out: video modes, drives, APM and BIOS tables.
"""

from __future__ import annotations

import os
import struct
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.errors import BootError
from innkeeper.firmware import cpu_entry, elf, legacy
from innkeeper.firmware.base import FOUR_GIB, HIGH_MEMORY, LOW_LAYOUT, BootPlan, Entry, Span, place_initrd, write
from innkeeper.memory import GuestMemory
from innkeeper.records import dataclass

if TYPE_CHECKING:
    from innkeeper._core import CpuState

HEADER_MAGIC, BOOT_MAGIC = 0x1BAD_B002, 0x2BAD_B002
SEARCH_BYTES = 8192
HEADER = struct.Struct("<3I")  # magic, flags, checksum
ADDRESSES = struct.Struct("<5I")  # header, load, end of data, end of bss, entry
REQUIRED_FLAGS, KNOWN_FLAGS = 0xFFFF, 0x0003  # 0 page-aligned modules, 1 memory information
FLAG_ADDRESSES = 1 << 16

# flags: 9 loader name │ 6 memory map │ 3 modules │ 2 command line │ 0 memory sizes
INFO_MEMORY, INFO_COMMAND_LINE, INFO_MODULES, INFO_MAP, INFO_LOADER = 1 << 0, 1 << 2, 1 << 3, 1 << 6, 1 << 9
INFO_BYTES = 88
MODULE = struct.Struct("<4I")  # start, end, &string, reserved
MAP_ENTRY = struct.Struct("<IQQI")  # size of the rest, base, length, kind
LOADER_NAME = b"Innkeeper\0"


@dataclass(frozen=True, slots=True)
class Header:
    """A multiboot header and where in the file it was found."""

    offset: int
    flags: int
    addresses: tuple[int, int, int, int, int] | None


def find_header(data: bytes) -> Header | None:
    """The header must lie in the first 8 KiB, on a multiple of four."""
    for offset in range(0, min(len(data), SEARCH_BYTES) - HEADER.size + 1, 4):
        magic, flags, checksum = HEADER.unpack_from(data, offset)
        if magic == HEADER_MAGIC and (magic + flags + checksum) & 0xFFFF_FFFF == 0:
            addresses = None
            if flags & FLAG_ADDRESSES and offset + HEADER.size + ADDRESSES.size <= len(data):
                addresses = ADDRESSES.unpack_from(data, offset + HEADER.size)
            return Header(offset, flags, addresses)
    return None


class MultibootImage:
    """A file with a multiboot header."""

    protocol = "multiboot"
    is_linux = False  # Linux has no multiboot header

    def __init__(self, path: Path, data: bytes) -> None:
        header = find_header(data)
        if header is None:
            raise BootError(f"kernel {path} has no multiboot header")
        unknown = header.flags & REQUIRED_FLAGS & ~KNOWN_FLAGS
        if unknown:
            raise BootError(f"kernel {path} asks for multiboot features {unknown:#x}; only 0x1 and 0x2 are there")
        self._path = path
        self._data = data
        self._header = header
        # Where both are given, an ELF file's own headers are the exact ones.
        self._elf = elf.ElfImage(path, data) if data.startswith(elf.MAGIC) else None
        if self._elf is None and header.addresses is None:
            raise BootError(f"kernel {path} is no ELF file, and its multiboot header gives no load addresses")

    def load(self, memory: GuestMemory, plan: BootPlan) -> Entry:
        span, entry = self._load_elf(memory, self._elf) if self._elf else self._load_flat(memory)
        for name, (start, size) in LOW_LAYOUT.items():
            if span.start < start + size and start < span.end:
                raise BootError(f"kernel {self._path} lies over {start:#x}, where its {name} belongs")
        info, _ = LOW_LAYOUT["boot info"]
        memory.write(info, self._write_info(memory, plan, span))
        legacy.write_bios_state(memory, plan.extended_bios_data)
        start = legacy.write_prelude(memory, entry, BOOT_MAGIC)
        return partial(_enter, memory=memory, rip=start, ebx=info)

    def _load_elf(self, memory: GuestMemory, image: elf.ElfImage) -> tuple[Span, int]:
        image.load(memory)
        return image.span(), image.entry & 0xFFFF_FFFF

    def _load_flat(self, memory: GuestMemory) -> tuple[Span, int]:
        """The "a.out kludge": the header says which part of the file goes where."""
        assert self._header.addresses is not None  # noqa: S101 - checked when the file was opened
        header, load, data_end, bss_end, entry = self._header.addresses
        start = self._header.offset - (header - load)
        length = data_end - load if data_end else len(self._data) - start
        if start < 0 or load > header or length <= 0:
            raise BootError(f"kernel {self._path} has multiboot load addresses that contradict each other")
        if start + length > len(self._data):
            raise BootError(f"kernel {self._path} is truncated: it has {len(self._data)} bytes of {start + length}")
        span = Span(load, max(load + length, bss_end))
        try:
            write(memory, load, self._data, start, start + length)
            memory.read(span.end - 1, 1)
        except ValueError as error:
            raise BootError(
                f"kernel {self._path} wants {span.end - load} bytes at {load:#x}, where the machine has no memory"
            ) from error
        return span, entry

    def _write_info(self, memory: GuestMemory, plan: BootPlan, kernel: Span) -> bytes:
        info = bytearray(INFO_BYTES)
        flags = INFO_MEMORY | INFO_COMMAND_LINE | INFO_MAP | INFO_LOADER
        struct.pack_into("<II", info, 4, 640, (plan.low_memory_end - HIGH_MEMORY) >> 10)
        command_line, room = LOW_LAYOUT["command line"]
        # By custom the kernel's own name comes first.
        text = os.fsencode(f"{self._path} {plan.command_line}".rstrip())
        if len(text) >= room:
            raise BootError(f"the command line is {len(text)} bytes long; multiboot has room for {room - 1}")
        memory.write(command_line, text + b"\0")
        struct.pack_into("<I", info, 16, command_line)
        if plan.initrd is not None:
            flags |= INFO_MODULES
            struct.pack_into("<II", info, 20, 1, self._write_module(memory, plan, kernel))
        map_table, _ = LOW_LAYOUT["memory map"]
        size = MAP_ENTRY.size - 4
        entries = b"".join(MAP_ENTRY.pack(size, entry.gpa, entry.size, entry.kind) for entry in plan.memory_map)
        memory.write(map_table, entries)
        struct.pack_into("<II", info, 44, len(entries), map_table)
        name = map_table + len(entries)
        memory.write(name, LOADER_NAME)
        struct.pack_into("<I", info, 64, name)
        struct.pack_into("<I", info, 0, flags)
        return bytes(info)

    def _write_module(self, memory: GuestMemory, plan: BootPlan, kernel: Span) -> int:
        """The initrd becomes module 0, its path the module's string."""
        content = plan.initrd or b""
        start = place_initrd(plan, kernel, FOUR_GIB)
        write(memory, start, content)
        table, _ = LOW_LAYOUT["modules"]
        string = table + MODULE.size
        memory.write(string, str(plan.initrd_path).encode()[:1024] + b"\0")
        memory.write(table, MODULE.pack(start, start + len(content), string, 0))
        return table


def _enter(state: CpuState, *, memory: GuestMemory, rip: int, ebx: int) -> CpuState:
    return cpu_entry.protected_mode(state, memory, rip=rip, eax=BOOT_MAGIC, ebx=ebx)
