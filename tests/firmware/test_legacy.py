"""What a BIOS leaves behind."""

import struct

from innkeeper.firmware import legacy
from innkeeper.memory import FlatMemory


def handler_of(memory: FlatMemory, vector: int) -> bytes:
    offset, segment = struct.unpack("<HH", memory.read(4 * vector, 4))
    return memory.read((segment << 4) + offset, 4)


def test_every_vector_has_a_handler_that_returns(memory: FlatMemory) -> None:
    legacy.write_bios_state(memory, 0x9FC00)

    assert handler_of(memory, 0x21).startswith(legacy.IGNORE)
    assert handler_of(memory, 0x08) == legacy.TICK[:4]
    assert handler_of(memory, 0x0F) == legacy.END_MASTER[:4]
    assert handler_of(memory, 0x70) == handler_of(memory, 0x77) == legacy.END_SLAVE[:4]
    assert all(handler[-1:] == legacy.IGNORE for handler in (legacy.TICK, legacy.END_MASTER, legacy.END_SLAVE))


def test_the_bios_data_area_tells_of_conventional_memory(memory: FlatMemory) -> None:
    legacy.write_bios_state(memory, 0x9FC00)

    assert struct.unpack("<H", memory.read(0x40E, 2)) == (0x9FC0,)
    assert struct.unpack("<H", memory.read(0x413, 2)) == (639,)
    assert memory.read(0x9FC00, 1) == b"\x01"


def test_the_prelude_ends_at_the_kernel(memory: FlatMemory) -> None:
    start = legacy.write_prelude(memory, 0x1234_5678, 0xCAFE)

    code = memory.read(start, 0x100).rstrip(b"\0")
    assert code[:4] == b"\xb0\x11\xe6\x20"
    assert code[-12:] == b"\xb8\xfe\xca\0\0\xb9\x78\x56\x34\x12\xff\xe1"
