"""The processors of a `pc` board: how many there are and may be, and the registers by which they come and go."""

from __future__ import annotations

from collections.abc import Callable

from innkeeper.devices.cpu_hotplug import CpuHotplug, CpuHotplugState, Sockets
from innkeeper.firmware import acpi

MOST_PORTS = 128  # that one resource descriptor is given here


class PcProcessors:
    """`event` has the guest look at the registers, which are there if there is anything to come or go."""

    def __init__(
        self, possible: int, sockets: Sockets | None, event: Callable[[], None], kept: CpuHotplugState | None
    ) -> None:
        self._possible, self._sockets = possible, sockets
        changes = sockets is not None and possible > 1
        self.registers = CpuHotplug(sockets, event, kept) if sockets is not None and changes else None

    @property
    def possible(self) -> int:
        return self._possible

    @property
    def count(self) -> int:
        """How many there are now."""
        return len(self._plugged())

    def describe(self, base: int, event: int) -> acpi.Processors:
        there = self.registers is not None
        return acpi.Processors(
            possible=self._possible, plugged=self._plugged(), base=base if there else None, event=event
        )

    def ports(self, base: int, size: int) -> list[tuple[int, int]]:
        """What the guest shall leave to the registers, if they are there."""
        return [(at, MOST_PORTS) for at in range(base, base + size, MOST_PORTS)] if self.registers is not None else []

    def disconnect(self) -> None:
        if self.registers is not None:
            self.registers.disconnect()

    def save(self) -> CpuHotplugState | None:
        return self.registers.save() if self.registers is not None else None

    def _plugged(self) -> frozenset[int]:
        return frozenset(range(self._possible)) if self._sockets is None else self._sockets.plugged
