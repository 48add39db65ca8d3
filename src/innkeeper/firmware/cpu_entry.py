"""The processor's state at a kernel's first instruction.

Segment attributes are packed as in VMX (Intel SDM vol. 3, 25.4.1), as everywhere in `CpuState`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from innkeeper.firmware.base import LOW_LAYOUT, PAGE
from innkeeper.memory import GuestMemory

if TYPE_CHECKING:
    from innkeeper._core import CpuState, Segment

CR0_PE, CR0_ET, CR0_PG = 1 << 0, 1 << 4, 1 << 31
CR4_PAE = 1 << 5
EFER_LME, EFER_LMA = 1 << 8, 1 << 10
RFLAGS_FIXED = 1 << 1
MTRR_DEF_TYPE, MTRR_ALL_WRITE_BACK = 0x2FF, 0x806  # on, no fixed ranges: as firmware leaves RAM, so that Linux uses PAT
CODE_SELECTOR, DATA_SELECTOR, TSS_SELECTOR = 0x10, 0x18, 0x20  # what Linux calls __BOOT_CS and __BOOT_DS

# 15 G │ 14 D/B │ 13 L │ 12 AVL │ 7 P │ 6-5 DPL │ 4 S │ 3-0 type
CODE_64, CODE_32, DATA, TSS_BUSY = 0xA09B, 0xC09B, 0xC093, 0x008B
FLAT_LIMIT = 0xFFFF_FFFF
TSS_LIMIT = 0x67

# 12-51 frame │ 7 PS │ 1 writable │ 0 present
PTE_PRESENT, PTE_WRITE, PTE_LARGE = 1 << 0, 1 << 1, 1 << 7
LARGE_PAGE = 2 << 20
RAX, RBX, RSI = 0, 3, 6  # in `CpuState.gpr`


def write_identity_map(memory: GuestMemory) -> int:
    """Maps the first 4 GiB to themselves in 2 MiB pages; returns the address for CR3."""
    root, _ = LOW_LAYOUT["page tables"]
    pointers, directories = root + PAGE, root + 2 * PAGE
    table = PTE_PRESENT | PTE_WRITE
    memory.write(root, struct.pack("<Q", pointers | table))
    memory.write(pointers, struct.pack("<4Q", *(directories + i * PAGE | table for i in range(4))))
    memory.write(directories, struct.pack("<2048Q", *(i * LARGE_PAGE | table | PTE_LARGE for i in range(2048))))
    return root


def write_gdt(memory: GuestMemory, code: int) -> None:
    """A table with what the segment registers hold already, so that they can be loaded again."""
    gdt, _ = LOW_LAYOUT["gdt"]
    tss, _ = LOW_LAYOUT["tss"]
    entries = (0, 0, _descriptor(0, FLAT_LIMIT, code), _descriptor(0, FLAT_LIMIT, DATA))
    # A 64-bit TSS descriptor has a second half: the base's upper bits, all zero.
    memory.write(gdt, struct.pack("<6Q", *entries, _descriptor(tss, TSS_LIMIT, TSS_BUSY), 0))


def _descriptor(base: int, limit: int, attributes: int) -> int:
    """A segment descriptor (Intel SDM vol. 3, 3.4.5)."""
    if attributes & 1 << 15:
        limit >>= 12
    low = limit & 0xFFFF | (base & 0xFFFFFF) << 16
    return low | attributes << 40 | (limit >> 16 & 0xF) << 48 | base >> 24 << 56


def _segment(selector: int, attributes: int, base: int = 0, limit: int = FLAT_LIMIT) -> Segment:
    return {"selector": selector, "attributes": attributes, "limit": limit, "base": base}


def _flat(state: CpuState, memory: GuestMemory, *, code: int) -> None:
    """Flat segments, interrupts off, a GDT to match."""
    write_gdt(memory, code)
    gdt, _ = LOW_LAYOUT["gdt"]
    tss, _ = LOW_LAYOUT["tss"]
    data = _segment(DATA_SELECTOR, DATA)
    state["segments"] = [data, _segment(CODE_SELECTOR, code), data, data, data, data]
    state["tr"] = _segment(TSS_SELECTOR, TSS_BUSY, tss, TSS_LIMIT)
    state["gdtr"] = {"base": gdt, "limit": 6 * 8 - 1}
    state["idtr"] = {"base": 0, "limit": 0}
    with_memory_types(state)
    state["gpr"] = [0] * 16
    state["rflags"] = RFLAGS_FIXED
    state["activity"] = "runnable"


def with_memory_types(state: CpuState) -> CpuState:
    """The MTRRs on. Firmware leaves them so on every processor; INIT and SIPI do not change them."""
    state["msrs"] = [(msr, MTRR_ALL_WRITE_BACK if msr == MTRR_DEF_TYPE else value) for msr, value in state["msrs"]]
    return state


def real_mode(state: CpuState, *, address: int) -> CpuState:
    """The reset state, but at a physical address below 1 MiB: how a guest wakes from S3 (ACPI 6.5, 16.3.1)."""
    code = state["segments"][1]
    code["selector"], code["base"] = address >> 4 & 0xFFFF, address & 0xF_FFF0
    state["rip"] = address & 0xF
    state["activity"] = "runnable"
    return state


def long_mode(state: CpuState, memory: GuestMemory, *, rip: int, rsi: int) -> CpuState:
    """64-bit mode with the first 4 GiB mapped to themselves: Linux's 64-bit boot protocol."""
    _flat(state, memory, code=CODE_64)
    state["cr0"] = CR0_PG | CR0_ET | CR0_PE
    state["cr3"] = write_identity_map(memory)
    state["cr4"] = CR4_PAE
    state["efer"] = EFER_LME | EFER_LMA
    state["rip"] = rip
    state["gpr"][RSI] = rsi
    return state


def protected_mode(state: CpuState, memory: GuestMemory, *, rip: int, eax: int, ebx: int) -> CpuState:
    """32-bit protected mode without paging: PVH and multiboot."""
    _flat(state, memory, code=CODE_32)
    state["cr0"] = CR0_ET | CR0_PE
    state["cr3"] = state["cr4"] = state["efer"] = 0
    state["rip"] = rip
    state["gpr"][RAX] = eax
    state["gpr"][RBX] = ebx
    return state
