"""The device that kvm-unit-tests expect beside the ISA chips: registers that only remember, and wires
to the interrupt controllers.

Follows QEMU's pc-testdev. Left out: its page-flush port, which changes host mappings that this
machine does not have.
"""

from collections.abc import Callable

from innkeeper.bus import Fields, State, Stateless
from innkeeper.bus.state import data

IRQ_LINES = 24


class TestRegister:
    """Bytes that read back as they were written: four ports, or 64 KiB of MMIO."""

    __test__ = False  # no test case, for all its name

    def __init__(self, size: int) -> None:
        self._bytes = bytearray(size)

    def read(self, offset: int, size: int, /) -> int:
        return int.from_bytes(self._bytes[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int, /) -> None:
        self._bytes[offset : offset + size] = value.to_bytes(size, "little")

    def state(self) -> State:
        return self._fields().of(self)

    def restore(self, state: State, /) -> None:
        self._fields().put(self, state)

    def _fields(self) -> Fields:
        return Fields(bytes=data(len(self._bytes), into=bytearray))


class TestIrqLines(Stateless):
    """One port for each interrupt: writing anything but zero raises the line."""

    __test__ = False

    def __init__(self, set_irq: Callable[[int, bool], None]) -> None:
        self._set_irq = set_irq

    def read(self, offset: int, size: int, /) -> int:  # noqa: ARG002 - a device's signature
        return 0

    def write(self, offset: int, size: int, value: int, /) -> None:  # noqa: ARG002 - as above
        self._set_irq(offset, value != 0)
