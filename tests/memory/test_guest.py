"""The readable twin of guest memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.memory import FlatMemory


@given(st.lists(st.tuples(st.integers(0, 0x3000), st.binary(max_size=64)), max_size=10))
def test_memory_agrees_with_one_array_of_bytes(writes: list[tuple[int, bytes]]) -> None:
    memory, array = FlatMemory([(0x1000, 0x1000), (0x2000, 0x800)]), bytearray(0x4000)
    for gpa, data in writes:
        end = gpa + len(data)
        inside = not data or (gpa >= 0x1000 and end <= 0x2800)  # the two ranges touch
        if inside:
            memory.write(gpa, data)
            array[gpa:end] = data
        else:
            with pytest.raises(ValueError, match="not all RAM"):
                memory.write(gpa, data)

    assert memory.read(0x1000, 0x1000) == array[0x1000:0x2000]
    assert memory.read(0x2000, 0x800) == array[0x2000:0x2800]


def test_clearing_zeroes_everything() -> None:
    memory = FlatMemory([(0, 0x1000)])
    memory.write(0xFFF, b"x")

    memory.clear()

    assert memory.read(0, 0x1000) == bytes(0x1000)
    assert (memory.size, memory.ranges) == (0x1000, [(0, 0x1000)])


def test_ram_of_the_adapter_area_moves_in_pieces() -> None:
    memory = FlatMemory([(0, 0xA0000), (0xC0000, 0x40000)])
    memory.write(0xC4000, b"x")
    shadow = memory.movable_ram(0xC0000)
    memory.unmap_ram(0xC0000)
    rom = memory.device_ram(0x4000)
    rom.write(0, b"rom")
    memory.map_ram(0xC0000, shadow, size=0x4000)
    memory.map_ram(0xC4000, rom, read_only=True)
    memory.map_ram(0xC8000, shadow, offset=0x8000)

    memory.write(0xC3FFF, b"12345")

    assert memory.read(0xC3FFF, 5) == b"1rom\0"
    assert shadow.read(0x4000, 1) == b"x"
    assert memory.size == 0xE0000
    with pytest.raises(ValueError, match="overlaps"):
        memory.map_ram(0xC0000, rom)
    with pytest.raises(ValueError, match="no memory that moves"):
        memory.unmap_ram(0)
