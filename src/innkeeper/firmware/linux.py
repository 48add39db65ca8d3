"""Linux bzImage, started by its 64-bit entry point.

Spec: the kernel's Documentation/arch/x86/boot.rst ("The Linux/x86 Boot Protocol", 2.12 and later) and
zero-page.rst. Left out: the 16-bit and 32-bit entry points, EFI handover.
"""

from __future__ import annotations

import os
import struct
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.errors import BootError
from innkeeper.firmware import cpu_entry, video
from innkeeper.firmware.base import (
    FOUR_GIB,
    HIGH_MEMORY,
    LOW_LAYOUT,
    PAGE,
    BootPlan,
    Entry,
    HandedKernel,
    Span,
    align_up,
    place_initrd,
    require_room,
    write,
)
from innkeeper.memory import GuestMemory

if TYPE_CHECKING:
    from innkeeper._core import CpuState

SECTOR = 512
HEADER_START = 0x1F1
HEADER_MINIMUM = 0x268  # up to and with handover_offset
EFI_STUB = b"MZ"  # it is a program of UEFI's too
BOOT_FLAG, HEADER_MAGIC = 0xAA55, b"HdrS"
PROTOCOL_2_12 = 0x020C  # the first with xloadflags

# Offsets in the file's first sectors, and just so in boot_params.
SETUP_SECTORS, SYSTEM_SIZE, FLAG = 0x1F1, 0x1F4, 0x1FE
JUMP, MAGIC, VERSION = 0x200, 0x202, 0x206
LOADER_TYPE, LOAD_FLAGS, RAMDISK_IMAGE, RAMDISK_SIZE = 0x210, 0x211, 0x218, 0x21C
COMMAND_LINE, INITRD_HIGHEST, ALIGNMENT, RELOCATABLE = 0x228, 0x22C, 0x230, 0x234
EXTENDED_LOAD_FLAGS, COMMAND_LINE_LIMIT, PREFERRED, MEMORY_NEEDED = 0x236, 0x238, 0x258, 0x260
# Offsets in boot_params alone.
ACPI_RSDP, ALTERNATE_MEMORY_KIB, MAP_COUNT, MAP_TABLE = 0x070, 0x1E0, 0x1E8, 0x2D0
MAP_LIMIT = 128
# screen_info, its first part.
VIDEO_MODE, VIDEO_EGA, EGA_256K = 0x006, 0x00A, 0x0003

XLF_KERNEL_64 = 1 << 0
LOADED_HIGH = 1 << 0
LOADER_UNDEFINED = 0xFF
ENTRY_64 = 0x200


class BzImage:
    """A bzImage whose header says that it can be started in 64-bit mode."""

    protocol = "linux"
    is_linux = True

    def __init__(self, path: Path, data: bytes) -> None:
        self._path = path
        self._data = data
        if len(data) < HEADER_MINIMUM:
            raise BootError(f"kernel {path} is truncated: its setup header ends after {len(data)} bytes")
        version = self._field("<H", VERSION)
        if version < PROTOCOL_2_12 or not self._field("<H", EXTENDED_LOAD_FLAGS) & XLF_KERNEL_64:
            raise BootError(
                f"kernel {path} has no 64-bit entry point (boot protocol {version >> 8}.{version & 0xFF:02}); "
                "Innkeeper starts 64-bit kernels"
            )
        self._setup_bytes = ((data[SETUP_SECTORS] or 4) + 1) * SECTOR
        expected = self._setup_bytes + self._field("<I", SYSTEM_SIZE) * 16
        if len(data) < expected:
            raise BootError(f"kernel {path} is truncated: it has {len(data)} bytes of {expected}")

    @staticmethod
    def recognises(data: bytes) -> bool:
        return data[FLAG : FLAG + 2] == struct.pack("<H", BOOT_FLAG) and data[MAGIC : MAGIC + 4] == HEADER_MAGIC

    def load(self, memory: GuestMemory, plan: BootPlan) -> Entry:
        span = self._place(plan)
        write(memory, span.start, self._data, self._setup_bytes)
        parameters = self._parameters(memory, plan, span)
        zero_page, _ = LOW_LAYOUT["boot info"]
        memory.write(zero_page, bytes(parameters))
        return partial(_enter, memory=memory, rip=span.start + ENTRY_64, rsi=zero_page)

    def for_firmware(self, plan: BootPlan) -> HandedKernel:
        """For UEFI to start. Raises `BootError` if it cannot."""
        if not self._data.startswith(EFI_STUB):
            raise BootError(
                f"kernel {self._path} was made without CONFIG_EFI_STUB, so that UEFI cannot start it; leave out one of them"
            )
        return HandedKernel(
            setup=self._data[: self._setup_bytes],
            rest=self._data[self._setup_bytes :],
            initrd=plan.initrd or b"",
            command_line=self._command_line(plan),
        )

    def _field(self, code: str, offset: int) -> int:
        value: int = struct.unpack_from(code, self._data, offset)[0]
        return value

    def _place(self, plan: BootPlan) -> Span:
        """Where it prefers to be, or else as low as it may."""
        preferred, needed = self._field("<Q", PREFERRED), self._field("<I", MEMORY_NEEDED)
        needed = max(needed, len(self._data) - self._setup_bytes)
        span = Span(preferred, preferred + needed)
        alignment = self._field("<I", ALIGNMENT)
        if span.end > plan.low_memory_end and self._data[RELOCATABLE] and alignment:
            start = align_up(HIGH_MEMORY, alignment)
            span = Span(start, start + needed)
        if span.start < HIGH_MEMORY:
            raise BootError(f"kernel {self._path} wants to be at {span.start:#x}; a kernel belongs at 1 MiB or above")
        require_room(self._path, span, plan)
        return span

    def _parameters(self, memory: GuestMemory, plan: BootPlan, kernel: Span) -> bytearray:
        """The zero page: the file's setup header, completed, and what the loader knows."""
        parameters = bytearray(PAGE)
        header_end = JUMP + 2 + self._data[JUMP + 1]
        parameters[HEADER_START:header_end] = self._data[HEADER_START:header_end]
        parameters[LOADER_TYPE] = LOADER_UNDEFINED
        parameters[LOAD_FLAGS] |= LOADED_HIGH
        struct.pack_into("<I", parameters, COMMAND_LINE, self._write_command_line(memory, plan))
        struct.pack_into("<Q", parameters, ACPI_RSDP, plan.rsdp)
        high_kib = (plan.low_memory_end - HIGH_MEMORY) >> 10
        struct.pack_into("<I", parameters, ALTERNATE_MEMORY_KIB, high_kib)
        if plan.initrd:
            start = place_initrd(plan, kernel, min(self._field("<I", INITRD_HIGHEST) + 1, FOUR_GIB))
            write(memory, start, plan.initrd)
            struct.pack_into("<II", parameters, RAMDISK_IMAGE, start, len(plan.initrd))
        if plan.text_screen:
            struct.pack_into("<BB", parameters, VIDEO_MODE, video.MODE, video.COLUMNS)
            struct.pack_into("<HHBBH", parameters, VIDEO_EGA, EGA_256K, 0, video.ROWS, 1, video.GLYPH_LINES)
        entries = plan.memory_map[:MAP_LIMIT]
        parameters[MAP_COUNT] = len(entries)
        for i, entry in enumerate(entries):
            struct.pack_into("<QQI", parameters, MAP_TABLE + 20 * i, entry.gpa, entry.size, entry.kind)
        return parameters

    def _write_command_line(self, memory: GuestMemory, plan: BootPlan) -> int:
        start, _ = LOW_LAYOUT["command line"]
        memory.write(start, self._command_line(plan))
        return start

    def _command_line(self, plan: BootPlan) -> bytes:
        """With the NUL at its end."""
        line, limit = os.fsencode(plan.command_line), self._field("<I", COMMAND_LINE_LIMIT)
        if len(line) > limit:
            raise BootError(f"the command line is {len(line)} bytes long; kernel {self._path} takes at most {limit}")
        return line + b"\0"


def _enter(state: CpuState, *, memory: GuestMemory, rip: int, rsi: int) -> CpuState:
    return cpu_entry.long_mode(state, memory, rip=rip, rsi=rsi)
