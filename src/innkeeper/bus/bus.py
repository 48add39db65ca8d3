"""Address → device: the readable twin of the core's bus, with the same answers.

An unclaimed read gives all ones, an unclaimed write is dropped, and a device sees offsets into its
own region.
"""

from bisect import bisect_right, insort
from typing import Protocol


class Device(Protocol):
    """A guest-visible chip. `size` is 1, 2, 4 or 8 bytes."""

    def read(self, offset: int, size: int, /) -> int: ...
    def write(self, offset: int, size: int, value: int, /) -> None: ...


def ones(size: int) -> int:
    """`size` bytes of ones: what a floating bus reads as.

    >>> hex(ones(2))
    '0xffff'
    """
    return (1 << (8 * size)) - 1


class Bus:
    """A set of regions that do not overlap."""

    def __init__(self) -> None:
        self._bases: list[int] = []
        self._regions: dict[int, tuple[int, Device]] = {}

    def map(self, base: int, size: int, device: Device) -> None:
        """Claims `size` bytes from `base`. Raises `ValueError` where it overlaps."""
        at = bisect_right(self._bases, base)
        before = self._bases[at - 1] if at else None
        overlaps_before = before is not None and before + self._regions[before][0] > base
        overlaps_after = at < len(self._bases) and self._bases[at] < base + size
        if size <= 0 or overlaps_before or overlaps_after:
            raise ValueError(f"region {base:#x} + {size:#x} is empty or overlaps another")
        insort(self._bases, base)
        self._regions[base] = (size, device)

    def unmap(self, base: int) -> None:
        """Releases the region that starts at `base`. Raises `ValueError` if there is none."""
        if base not in self._regions:
            raise ValueError(f"no region starts at {base:#x}")
        self._bases.remove(base)
        del self._regions[base]

    def regions(self) -> list[tuple[int, int]]:
        """Base and size of each region, ascending."""
        return [(base, self._regions[base][0]) for base in self._bases]

    def read(self, address: int, size: int) -> int:
        found = self._find(address, size)
        return ones(size) if found is None else found[0].read(found[1], size) & ones(size)

    def write(self, address: int, size: int, value: int) -> None:
        found = self._find(address, size)
        if found is not None:
            found[0].write(found[1], size, value & ones(size))

    def _find(self, address: int, size: int) -> tuple[Device, int] | None:
        at = bisect_right(self._bases, address)
        if not at:
            return None
        base = self._bases[at - 1]
        length, device = self._regions[base]
        offset = address - base
        return (device, offset) if offset + size <= length else None


class Part:
    """A piece of a device's region that is mapped by itself: it begins at `offset`."""

    __slots__ = ("_device", "_offset")

    def __init__(self, device: Device, offset: int) -> None:
        self._device = device
        self._offset = offset

    @property
    def device(self) -> Device:
        return self._device

    def read(self, offset: int, size: int, /) -> int:
        return self._device.read(self._offset + offset, size)

    def write(self, offset: int, size: int, value: int, /) -> None:
        self._device.write(self._offset + offset, size, value)
