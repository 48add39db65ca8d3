"""PVH: the note, the start info, and the state at the entry point."""

import struct
from pathlib import Path

import pytest

from innkeeper.errors import BootError
from innkeeper.firmware.elf import ElfImage
from innkeeper.firmware.pvh import PvhImage, find_entry
from innkeeper.memory import FlatMemory
from innkeeper.testing.engine import reset_state

from .conftest import MIB, elf64, plan, pvh_note


def image(**changes: object) -> PvhImage:
    segments = changes.get("segments", [(MIB, b"code", 0x2000), (2 * MIB, b"data", 4)])
    return PvhImage(ElfImage(Path("vmlinux"), elf64(segments, note=pvh_note(MIB + 0x10))))  # type: ignore[arg-type]


def test_the_entry_point_is_the_notes_not_the_files(memory: FlatMemory) -> None:
    state = image().load(memory, plan())(reset_state())

    assert state["rip"] == MIB + 0x10
    assert state["cr0"] & 0x8000_0001 == 1
    assert (state["cr4"], state["efer"]) == (0, 0)
    assert state["segments"][1]["attributes"] == 0xC09B
    assert state["tr"] == {"selector": 0x20, "attributes": 0x8B, "limit": 0x67, "base": state["tr"]["base"]}
    assert memory.read(MIB, 4) == b"code"
    assert memory.read(2 * MIB, 4) == b"data"


def test_the_start_info_leads_to_everything(memory: FlatMemory) -> None:
    state = image().load(memory, plan(initrd=b"initrd!", initrd_path=Path("initrd")))(reset_state())

    info = memory.read(state["gpr"][3], 56)
    magic, version, _, modules, table, line, rsdp, map_at, entries, _ = struct.unpack("<4I4Q2I", info)
    assert (magic, version, modules, rsdp, entries) == (0x336EC578, 1, 1, 0xF0000, 3)
    assert memory.read(line, 14) == b"console=ttyS0\0"
    start, size, _, _ = struct.unpack("<4Q", memory.read(table, 32))
    assert memory.read(start, size) == b"initrd!"
    assert struct.unpack("<QQII", memory.read(map_at + 48, 24)) == (MIB, 15 * MIB, 1, 0)


def test_linux_is_known_by_its_first_words() -> None:
    assert not image().is_linux
    assert image(segments=[(MIB, b"code", 0x2000), (2 * MIB, b"Linux version 6.1.0 (a) #1", 64)]).is_linux


def test_a_file_without_the_note_has_no_entry() -> None:
    assert find_entry(ElfImage(Path("x"), elf64([(MIB, b"code", 4)]))) is None
    assert find_entry(ElfImage(Path("x"), elf64([(MIB, b"code", 4)], note=b"\x04\0\0\0"))) is None
    with pytest.raises(ValueError, match="no PVH entry"):
        PvhImage(ElfImage(Path("x"), elf64([(MIB, b"code", 4)])))


def test_a_kernel_larger_than_memory_is_refused(memory: FlatMemory) -> None:
    with pytest.raises(BootError, match="needs memory up to 65 MiB; the machine's ends at 16 MiB"):
        image(segments=[(MIB, b"code", 64 * MIB)]).load(memory, plan())


def test_a_kernel_in_a_hole_is_refused(memory: FlatMemory) -> None:
    with pytest.raises(BootError, match="wants 4 bytes at 0xa0000, where the machine has no memory"):
        image(segments=[(0xA0000, b"code", 4)]).load(memory, plan())
