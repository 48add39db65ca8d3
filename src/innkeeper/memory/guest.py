"""Guest RAM as the rest of the package sees it, and a plain Python version of it.

The real one is `_core.Memory`, made by an engine. Left out: ROM, dirty logs.
"""

from typing import Protocol

Range = tuple[int, int]
"""Guest-physical address and size, in bytes."""


class GuestMemory(Protocol):
    """RAM in ranges of guest-physical addresses. Accesses outside RAM raise `ValueError`."""

    @property
    def size(self) -> int: ...
    @property
    def ranges(self) -> list[Range]: ...
    def read(self, gpa: int, length: int, /) -> bytes: ...
    def write(self, gpa: int, data: bytes, /) -> None: ...
    def clear(self) -> None: ...


class FlatMemory:
    r"""The readable twin of `_core.Memory`: for tests, and wherever no vCPU needs to run.

    >>> memory = FlatMemory([(0x1000, 0x2000)])
    >>> memory.write(0x1FFE, b"ab")
    >>> memory.read(0x1FFE, 3)
    b'ab\x00'
    """

    def __init__(self, ranges: list[Range]) -> None:
        self._ranges = list(ranges)
        self._bytes = [bytearray(size) for _, size in ranges]

    @property
    def size(self) -> int:
        return sum(size for _, size in self._ranges)

    @property
    def ranges(self) -> list[Range]:
        return list(self._ranges)

    def read(self, gpa: int, length: int, /) -> bytes:
        data, offset = self._locate(gpa, length)
        return bytes(data[offset : offset + length])

    def write(self, gpa: int, data: bytes, /) -> None:
        target, offset = self._locate(gpa, len(data))
        target[offset : offset + len(data)] = data

    def clear(self) -> None:
        self._bytes = [bytearray(size) for _, size in self._ranges]

    def _locate(self, gpa: int, length: int) -> tuple[bytearray, int]:
        for (base, size), data in zip(self._ranges, self._bytes, strict=True):
            if base <= gpa and gpa + length <= base + size:
                return data, gpa - base
        raise ValueError(f"guest-physical {gpa:#x} + {length:#x} bytes is not all RAM")
