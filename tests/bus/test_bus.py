"""The bus against a dictionary of bytes, and its refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.bus import Bus, GsiLine, Part, ones


class Recorder:
    def __init__(self) -> None:
        self.writes: list[tuple[int, int, int]] = []

    def read(self, offset: int, size: int, /) -> int:
        return 0xAB00_0000_0000 | offset << 8 | size

    def write(self, offset: int, size: int, value: int, /) -> None:
        self.writes.append((offset, size, value))


def test_an_access_reaches_its_device_as_an_offset() -> None:
    bus, device = Bus(), Recorder()
    bus.map(0x3F8, 8, device)

    bus.write(0x3F9, 1, 0x1FF)

    assert device.writes == [(1, 1, 0xFF)]
    assert bus.read(0x3FD, 2) == 0x0502


def test_an_unclaimed_read_is_all_ones() -> None:
    bus = Bus()
    bus.map(0x10, 4, Recorder())

    assert bus.read(0x0F, 1) == 0xFF
    assert bus.read(0x14, 4) == 0xFFFF_FFFF
    assert bus.read(0x13, 2) == 0xFFFF  # straddles the region's end


def test_an_unclaimed_write_is_dropped() -> None:
    bus, device = Bus(), Recorder()
    bus.map(0x10, 4, device)

    bus.write(0x13, 2, 1)
    bus.write(0x0, 1, 1)

    assert device.writes == []


@pytest.mark.parametrize(("base", "size"), [(0x10, 1), (0x0E, 3), (0x13, 8), (0x20, 0), (0x0, 0x100)])
def test_overlaps_are_refused(base: int, size: int) -> None:
    bus = Bus()
    bus.map(0x10, 4, Recorder())

    with pytest.raises(ValueError, match="overlaps"):
        bus.map(base, size, Recorder())

    assert bus.regions() == [(0x10, 4)]


def test_a_released_region_can_be_claimed_again() -> None:
    bus = Bus()
    bus.map(0x10, 4, Recorder())

    bus.unmap(0x10)
    bus.map(0x0E, 4, Recorder())

    assert bus.regions() == [(0x0E, 4)]
    with pytest.raises(ValueError, match="no region"):
        bus.unmap(0x10)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 8)), max_size=20), st.integers(0, 50))
def test_the_bus_agrees_with_a_dictionary_of_bytes(regions: list[tuple[int, int]], address: int) -> None:
    bus, owners = Bus(), dict[int, tuple[int, int]]()
    for base, size in regions:
        free = all(at not in owners for at in range(base, base + size))
        if free:
            bus.map(base, size, Recorder())
            owners.update(dict.fromkeys(range(base, base + size), (base, size)))
        else:
            with pytest.raises(ValueError, match="overlaps"):
                bus.map(base, size, Recorder())

    expected = (address - owners[address][0]) << 8 & 0xFF | 1 if address in owners else 0xFF

    assert bus.read(address, 1) == expected


def test_ones_fill_the_size() -> None:
    assert [ones(size) for size in (1, 2, 4, 8)] == [0xFF, 0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF]


def test_a_part_begins_inside_its_device() -> None:
    device = Recorder()
    part = Part(device, 4)

    part.write(1, 1, 7)

    assert device.writes == [(5, 1, 7)]
    assert part.read(0, 1) == device.read(4, 1)


def test_a_line_drives_its_own_gsi() -> None:
    driven: list[tuple[int, bool]] = []
    line = GsiLine(lambda gsi, level: driven.append((gsi, level)), 4)

    line.set(True)
    line.set(False)
    line.pulse()

    assert driven == [(4, True), (4, False), (4, True), (4, False)]
