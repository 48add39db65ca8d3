"""Guest-virtual → guest-physical, as the guest's own page tables say: for whoever looks into a guest that stands still.

Spec: Intel SDM vol. 3, chapter 4. Left out: permissions, accessed and dirty bits, protection keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from innkeeper.memory.guest import GuestMemory

if TYPE_CHECKING:
    from innkeeper._core import CpuState

CR0_PG = 1 << 31
CR4_PSE, CR4_PAE, CR4_LA57 = 1 << 4, 1 << 5, 1 << 12
EFER_LMA = 1 << 10
PRESENT, LARGE = 1 << 0, 1 << 7
ADDRESS = 0x000F_FFFF_FFFF_F000


def translate(state: CpuState, memory: GuestMemory, gva: int) -> int | None:
    """Where a linear address leads, or None if nowhere."""
    if not state["cr0"] & CR0_PG:
        return gva & 0xFFFF_FFFF
    if state["efer"] & EFER_LMA:
        levels = 5 if state["cr4"] & CR4_LA57 else 4
        shift = 64 - (12 + 9 * levels)
        if gva != (((gva << shift) & (1 << 64) - 1) >> shift) | (-(gva >> (63 - shift) & 1) << (64 - shift)) % (
            1 << 64
        ):
            return None  # not canonical
        return _walk(memory, state["cr3"] & ADDRESS, gva, levels)
    gva &= 0xFFFF_FFFF
    if state["cr4"] & CR4_PAE:
        pointer = _entry(memory, (state["cr3"] & 0xFFFF_FFE0) + 8 * (gva >> 30), 8)
        return _walk(memory, pointer & ADDRESS, gva, 2) if pointer is not None and pointer & PRESENT else None
    return _walk_32(memory, state["cr3"] & 0xFFFF_F000, gva, pse=bool(state["cr4"] & CR4_PSE))


def _walk(memory: GuestMemory, table: int, gva: int, levels: int) -> int | None:
    """Tables of 512 entries of 8 bytes."""
    for level in range(levels, 0, -1):
        shift = 12 + 9 * (level - 1)
        entry = _entry(memory, table + 8 * (gva >> shift & 0x1FF), 8)
        if entry is None or not entry & PRESENT:
            return None
        if level == 1 or (level <= 3 and entry & LARGE):
            offset = (1 << shift) - 1
            return entry & ADDRESS & ~offset | gva & offset
        table = entry & ADDRESS
    return None


def _walk_32(memory: GuestMemory, table: int, gva: int, *, pse: bool) -> int | None:
    """Tables of 1024 entries of 4 bytes; a large page's entry has bits 39-32 of its address at 20-13."""
    directory = _entry(memory, table + 4 * (gva >> 22), 4)
    if directory is None or not directory & PRESENT:
        return None
    if pse and directory & LARGE:
        return (directory >> 13 & 0xFF) << 32 | directory & 0xFFC0_0000 | gva & 0x3F_FFFF
    entry = _entry(memory, (directory & 0xFFFF_F000) + 4 * (gva >> 12 & 0x3FF), 4)
    if entry is None or not entry & PRESENT:
        return None
    return entry & 0xFFFF_F000 | gva & 0xFFF


def _entry(memory: GuestMemory, gpa: int, size: int) -> int | None:
    try:
        return int.from_bytes(memory.read(gpa, size), "little")
    except ValueError:
        return None  # the guest's tables lead out of its RAM
