"""ROMs that are made to fit their function."""

import struct

import pytest

from innkeeper.devices.pci.option_rom import DATA, fitted, rom_of
from innkeeper.memory import FlatMemory


def image(kind: int, *, last: bool, device: int = 0x1041) -> bytes:
    """One image of a ROM, whose bytes add up to zero."""
    head = b"\x55\xaa\x02\xeb\x00\xcb" + bytes(0x12) + struct.pack("<H", 0x1C) + bytes(2)
    data = DATA.pack(b"PCIR", 0x1AF4, device, 0, 24, 0, 0, 0, 2, 2, 0, kind, 0x80 if last else 0)
    body = bytearray((head + data).ljust(1024, b"\x90"))
    body[6] = -sum(body) & 0xFF
    return bytes(body)


def test_every_pc_image_names_the_function_and_still_adds_up() -> None:
    rom = fitted(image(0, last=False) + image(3, last=True), 0x1AF4, 0x1000)
    assert struct.unpack_from("<HH", rom, 0x1C + 4) == (0x1AF4, 0x1000)
    assert sum(rom[:1024]) & 0xFF == 0
    assert rom[1024:] == image(3, last=True)


@pytest.mark.parametrize("rom", [b"", b"\x55\xaa", b"\x55\xaa" + bytes(0x30), image(0, last=True)[:0x20], bytes(99)])
def test_what_is_no_rom_stays_as_it_is(rom: bytes) -> None:
    assert fitted(rom, 1, 2) == rom


def test_a_rom_is_a_power_of_two_of_memory() -> None:
    memory = FlatMemory([(0, 0x1000)])
    assert (rom_of(memory, bytes(5)).size, rom_of(memory, bytes(0x1001)).size) == (0x1000, 0x2000)
