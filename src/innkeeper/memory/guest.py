"""Guest RAM as the rest of the package sees it, and a plain Python version of it.

The real one is `_core.Memory`, made by an engine. Left out: dirty logs.
"""

from typing import Protocol

from innkeeper.records import dataclass

Range = tuple[int, int]
"""Guest-physical address and size, in bytes."""


PAGE_BYTES = 0x1000
ADAPTER_AREA = range(0xA_0000, 0x10_0000)
"""Ranges within it may be moved: chipsets of PCs put ROM and RAM there in turn."""


class Ram(Protocol):
    """A piece of memory that guests see where and while `Buses.map_ram` says so."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, length: int, /) -> bytes: ...
    def write(self, offset: int, data: bytes, /) -> None:
        """Also what is read-only for guests."""
        ...


class GuestMemory(Protocol):
    """RAM in ranges of guest-physical addresses. Accesses outside RAM raise `ValueError`."""

    @property
    def size(self) -> int: ...
    @property
    def ranges(self) -> list[Range]: ...
    def read(self, gpa: int, length: int, /) -> bytes: ...
    def write(self, gpa: int, data: bytes, /) -> None: ...
    def clear(self) -> None: ...
    def device_ram(self, size: int, /) -> Ram:
        """Zeroed RAM for a device, in whole pages. Raises `ValueError` where there is no room for it."""
        ...

    def movable_ram(self, gpa: int, /) -> Ram:
        """The RAM of the range in the adapter area that started at `gpa`, wherever it is now."""
        ...


class FlatRam:
    """The readable twin of `_core.Ram`."""

    def __init__(self, size: int) -> None:
        self.bytes = bytearray(size)

    @property
    def size(self) -> int:
        return len(self.bytes)

    def read(self, offset: int, length: int, /) -> bytes:
        self._check(offset, length)
        return bytes(self.bytes[offset : offset + length])

    def write(self, offset: int, data: bytes, /) -> None:
        self._check(offset, len(data))
        self.bytes[offset : offset + len(data)] = data

    def _check(self, offset: int, length: int) -> None:
        if not 0 <= offset <= offset + length <= self.size:
            raise ValueError(f"{offset:#x} + {length:#x} bytes go beyond a piece of RAM of {self.size:#x}")


@dataclass(frozen=True, slots=True)
class FlatSlot:
    """Where `size` bytes of a piece are seen."""

    gpa: int
    size: int
    ram: FlatRam
    offset: int = 0
    read_only: bool = False

    @property
    def end(self) -> int:
        return self.gpa + self.size


class FlatMemory:
    r"""The readable twin of `_core.Memory`: for tests, and wherever no vCPU needs to run.

    >>> memory = FlatMemory([(0x1000, 0x2000)])
    >>> memory.write(0x1FFE, b"ab")
    >>> memory.read(0x1FFE, 3)
    b'ab\x00'
    """

    def __init__(self, ranges: list[Range]) -> None:
        self._slots = [FlatSlot(gpa, size, FlatRam(size)) for gpa, size in ranges]
        self._own = list(self._slots)

    @property
    def size(self) -> int:
        return sum(slot.size for slot in self._own)

    @property
    def ranges(self) -> list[Range]:
        return sorted((slot.gpa, slot.size) for slot in self._slots)

    def read(self, gpa: int, length: int, /) -> bytes:
        return b"".join(slot.ram.read(offset, count) for slot, offset, count in self._locate(gpa, length))

    def write(self, gpa: int, data: bytes, /) -> None:
        at = 0
        for slot, offset, count in self._locate(gpa, len(data)):
            if not slot.read_only:
                slot.ram.write(offset, data[at : at + count])
            at += count

    def clear(self) -> None:
        for slot in self._own:
            slot.ram.bytes[:] = bytes(slot.ram.size)

    def device_ram(self, size: int, /) -> FlatRam:
        if size <= 0 or size % PAGE_BYTES:
            raise ValueError(f"{size:#x} bytes of device RAM are not whole pages")
        return FlatRam(size)

    def movable_ram(self, gpa: int, /) -> FlatRam:
        for slot in self._own:
            if slot.gpa == gpa in ADAPTER_AREA:
                return slot.ram
        raise ValueError(f"no memory that moves starts at {gpa:#x}")

    def map_ram(
        self, gpa: int, ram: Ram, /, *, offset: int = 0, size: int | None = None, read_only: bool = False
    ) -> None:
        """What an engine's `Vm.map_ram` does."""
        if not isinstance(ram, FlatRam):
            raise TypeError("that is not a piece of this memory")
        slot = FlatSlot(gpa, ram.size - offset if size is None else size, ram, offset, read_only)
        inside = offset >= 0 and 0 < slot.size <= ram.size - offset and not (gpa | offset | slot.size) % PAGE_BYTES
        if not inside or any(slot.gpa < other.end and other.gpa < slot.end for other in self._slots):
            raise ValueError(f"memory slot at {gpa:#x} with {slot.size:#x} bytes is empty, unaligned or overlaps")
        self._slots.append(slot)

    def unmap_ram(self, gpa: int, /) -> None:
        for slot in self._slots:
            if slot.gpa == gpa and (slot not in self._own or gpa in ADAPTER_AREA):
                self._slots.remove(slot)
                return
        raise ValueError(f"no memory that moves starts at {gpa:#x}")

    def _locate(self, gpa: int, length: int) -> list[tuple[FlatSlot, int, int]]:
        """The pieces of an access: slot, offset in its RAM, length."""
        pieces, at, end = [], gpa, gpa + length
        while at < end:
            slot = next((slot for slot in self._slots if slot.gpa <= at < slot.end), None)
            if slot is None:
                raise ValueError(f"guest-physical {gpa:#x} + {length:#x} bytes is not all RAM")
            count = min(end, slot.end) - at
            pieces.append((slot, slot.offset + at - slot.gpa, count))
            at += count
        return pieces
