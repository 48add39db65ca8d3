"""A debug console at one port: what firmware says of itself. SeaBIOS and OVMF look for it at 402h by what it reads as."""

from collections.abc import Callable

from innkeeper.bus import Stateless

READBACK = 0xE9


class DebugConsole(Stateless):
    """Each byte written is said to `say`."""

    def __init__(self, say: Callable[[bytes], None]) -> None:
        self._say = say

    def read(self, _offset: int, size: int, /) -> int:
        return int.from_bytes(bytes([READBACK]) * size, "little")

    def write(self, _offset: int, size: int, value: int, /) -> None:
        self._say(value.to_bytes(size, "little"))
