"""PVH: a 32-bit entry point named by an ELF note, for Linux's vmlinux and any kernel that carries it.

Spec: Xen's docs/misc/pvh.pandoc ("x86/HVM direct boot ABI") and include/public/arch-x86/hvm/start_info.h.
"""

from __future__ import annotations

import os
import struct
from functools import partial
from typing import TYPE_CHECKING

from innkeeper.firmware import cpu_entry
from innkeeper.firmware.base import LOW_LAYOUT, BootPlan, Entry, place_initrd, require_room, write
from innkeeper.firmware.elf import ElfImage
from innkeeper.memory import GuestMemory

if TYPE_CHECKING:
    from innkeeper._core import CpuState

NOTE_NAME, NOTE_PHYS32_ENTRY = b"Xen", 18
LINUX = b"Linux version "
"""How the first words begin that every Linux says."""
START_MAGIC = 0x336E_C578
START_VERSION = 1
# magic, version, flags, modules, &modules, &command line, RSDP, &memory map, its entries, reserved
START_INFO = struct.Struct("<4I4Q2I")
MODULE = struct.Struct("<4Q")  # address, size, &command line, reserved
MAP_ENTRY = struct.Struct("<QQII")


class PvhImage:
    """An ELF file with a PVH entry point."""

    protocol = "pvh"

    def __init__(self, elf: ElfImage) -> None:
        self._elf = elf
        entry = find_entry(elf)
        if entry is None:
            raise ValueError(f"{elf.path} has no PVH entry point")
        self._entry = entry
        self.is_linux = elf.holds(LINUX)  # other kernels start by this protocol too: BSDs, unikernels, Xen

    def load(self, memory: GuestMemory, plan: BootPlan) -> Entry:
        span = self._elf.span()
        require_room(self._elf.path, span, plan)
        self._elf.load(memory)
        modules, (module_table, _) = 0, LOW_LAYOUT["modules"]
        if plan.initrd:
            start = place_initrd(plan, span)
            write(memory, start, plan.initrd)
            memory.write(module_table, MODULE.pack(start, len(plan.initrd), 0, 0))
            modules = 1
        command_line, _ = LOW_LAYOUT["command line"]
        memory.write(command_line, os.fsencode(plan.command_line) + b"\0")
        map_table, _ = LOW_LAYOUT["memory map"]
        entries = b"".join(MAP_ENTRY.pack(entry.gpa, entry.size, entry.kind, 0) for entry in plan.memory_map)
        memory.write(map_table, entries)
        info, _ = LOW_LAYOUT["boot info"]
        where = (module_table, command_line, plan.rsdp, map_table)
        head = (START_MAGIC, START_VERSION, 0, modules)
        memory.write(info, START_INFO.pack(*head, *where, len(plan.memory_map), 0))
        return partial(_enter, memory=memory, rip=self._entry, ebx=info)


def find_entry(elf: ElfImage) -> int | None:
    """The physical entry point that the note gives, if there is one."""
    for name, kind, content in elf.notes():
        if name == NOTE_NAME and kind == NOTE_PHYS32_ENTRY and len(content) >= 4:
            return int.from_bytes(content[:8], "little") & 0xFFFF_FFFF
    return None


def _enter(state: CpuState, *, memory: GuestMemory, rip: int, ebx: int) -> CpuState:
    return cpu_entry.protected_mode(state, memory, rip=rip, eax=0, ebx=ebx)
