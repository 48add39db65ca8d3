"""Guests' page tables, walked from outside in every mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from innkeeper.memory import FlatMemory, translate
from innkeeper.testing.engine import reset_state

if TYPE_CHECKING:
    from innkeeper._core import CpuState

PG, PSE, PAE, LA57, LMA = 1 << 31, 1 << 4, 1 << 5, 1 << 12, 1 << 10
HERE = 0x3  # present, writable


def machine(cr4: int, efer: int, tables: dict[int, int], size: int = 8) -> tuple[CpuState, FlatMemory]:
    memory = FlatMemory([(0, 0x10000)])
    for gpa, entry in tables.items():
        memory.write(gpa, entry.to_bytes(size, "little"))
    state = reset_state()
    state["cr0"], state["cr3"], state["cr4"], state["efer"] = PG | 1, 0x1000, cr4, efer
    return state, memory


FOUR = {0x1000 + 8 * 0x1FF: 0x2000 | HERE, 0x2000 + 8 * 0x1FE: 0x3000 | HERE, 0x3000 + 8: 0x4000 | HERE}
FOUR |= {0x4000 + 8 * 3: 0x5000 | HERE | 1 << 63, 0x3000 + 16: 0x40_0000 | HERE | 0x80}


@pytest.mark.parametrize(
    ("gva", "gpa"),
    [
        (0xFFFF_FFFF_8020_3456, 0x5456),
        (0xFFFF_FFFF_8041_2345, 0x41_2345),  # a large page
        (0xFFFF_FFFF_8020_4000, None),
        (0xFFFF_FFFF_C000_0000, None),
        (0x7FFF_FFFF_8020_3456 | 1 << 47 | 0x1 << 50, None),  # not canonical
    ],
)
def test_four_levels(gva: int, gpa: int | None) -> None:
    state, memory = machine(PAE, LMA, FOUR)
    assert translate(state, memory, gva) == gpa


def test_five_levels_reach_further() -> None:
    tables = {0x1000 + 8: 0x6000 | HERE, 0x6000: 0x7000 | HERE, 0x7000: 0xC000_0000 | HERE | 0x80}
    state, memory = machine(PAE | LA57, LMA, tables)
    assert translate(state, memory, 1 << 48 | 0x1234) == 0xC000_1234
    assert translate(state, memory, 1 << 57) is None


def test_pae_outside_long_mode() -> None:
    state, memory = machine(PAE, 0, {0x1018: 0x2001, 0x2000: 0x3000 | HERE, 0x3008: 0x4000 | HERE})
    assert translate(state, memory, 0xC000_1ABC) == 0x4ABC
    assert translate(state, memory, 0x1ABC) is None


def test_thirty_two_bits() -> None:
    tables = {0x1000: 0x2000 | HERE, 0x2004: 0x3000 | HERE, 0x1004: 0x0080_0000 | HERE | 0x80 | 1 << 13}
    state, memory = machine(PSE, 0, tables, size=4)
    assert translate(state, memory, 0x1FED) == 0x3FED
    assert translate(state, memory, 0x0040_0001) == 0x1_0080_0001


def test_tables_outside_ram_lead_nowhere() -> None:
    state, memory = machine(PAE, LMA, {0x1000: 0xFFFF_F000 | HERE})
    assert translate(state, memory, 0) is None


def test_without_paging_an_address_is_its_own() -> None:
    assert translate(reset_state(), FlatMemory([]), 0x1_0000_1234) == 0x1234
