"""A port that ends the machine with an exit status: how test guests report their result.

Follows QEMU's isa-debug-exit: writing `v` ends with status `(v << 1) | 1`, so never with zero.
"""

from collections.abc import Callable

from innkeeper.bus import Stateless


class DebugExit(Stateless):
    """Four ports, usually from 0xF4."""

    def __init__(self, leave: Callable[[int], None]) -> None:
        self._leave = leave

    def read(self, offset: int, size: int, /) -> int:  # noqa: ARG002 - a device's signature
        return 0

    def write(self, offset: int, size: int, value: int, /) -> None:  # noqa: ARG002 - as above
        self._leave((value << 1 | 1) & 0xFF)
