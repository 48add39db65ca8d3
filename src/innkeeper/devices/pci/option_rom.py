"""Expansion ROMs: images in memory that a function shows, made to name the function that they are in.

Spec: PCI Local Bus 3.0, 6.3.1. One ROM often serves several functions, and firmware runs only what names the one it is in. The
byte behind a PC image's entry point is where its makers leave room to make the sum of all its bytes zero again.
"""

import struct

from innkeeper.memory import GuestMemory, Ram

SIGNATURE, POINTER, CHECKSUM_AT = b"\x55\xaa", 0x18, 6
DATA = struct.Struct(
    "<4sHHHHBBBBHHBB"
)  # PCIR, vendor, device, list, length, revision, class, blocks, level, type, last
BLOCK_BYTES, TYPE_PC, LAST_IMAGE = 512, 0, 0x80
SMALLEST = 0x1000


def rom_of(memory: GuestMemory, image: bytes) -> Ram:
    """The ROM's memory: the next power of two that holds the image, at least a page."""
    rom = memory.device_ram(max(SMALLEST, 1 << (len(image) - 1).bit_length()))
    rom.write(0, image)
    return rom


def fitted(image: bytes, vendor: int, device: int) -> bytes:
    """The same ROM for this function. What is no ROM comes back as it was."""
    rom, at = bytearray(image), 0
    while rom[at : at + 2] == SIGNATURE and at + POINTER + 2 <= len(rom):
        data = at + int.from_bytes(rom[at + POINTER : at + POINTER + 2], "little")
        if rom[data : data + 4] != b"PCIR" or data + DATA.size > len(rom):
            break
        blocks, (kind, last) = DATA.unpack_from(rom, data)[9], DATA.unpack_from(rom, data)[11:13]
        if kind == TYPE_PC:
            before = sum(rom[data + 4 : data + 8])
            struct.pack_into("<HH", rom, data + 4, vendor, device)
            change = sum(rom[data + 4 : data + 8]) - before
            rom[at + CHECKSUM_AT] = (rom[at + CHECKSUM_AT] - change) & 0xFF
        if last & LAST_IMAGE or not blocks:
            break
        at += BLOCK_BYTES * blocks
    return bytes(rom)
