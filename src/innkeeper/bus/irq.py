"""Interrupt lines, and the connections that a board offers to its devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from innkeeper.bus.bus import Device
from innkeeper.memory import Ram

if TYPE_CHECKING:
    from innkeeper._core import Fabric


class IrqLine(Protocol):
    """A wire to an interrupt controller. Devices drive levels; the controller knows about edges."""

    def set(self, level: bool, /) -> None: ...
    def pulse(self) -> None: ...


class Buses(Protocol):
    """What a board is wired to. Every engine's `Vm` is one."""

    def map_ports(self, base: int, size: int, device: Device, /) -> None: ...
    def unmap_ports(self, base: int, /) -> None: ...
    def map_mmio(self, base: int, size: int, device: Device, /) -> None: ...
    def unmap_mmio(self, base: int, /) -> None: ...
    def map_ram(
        self, gpa: int, ram: Ram, /, *, offset: int = 0, size: int | None = None, read_only: bool = False
    ) -> None:
        """Shows memory at `gpa`; writes to what is read-only go to the MMIO there. `ValueError` where it overlaps."""
        ...

    def unmap_ram(self, gpa: int, /) -> None: ...
    def set_irq(self, gsi: int, level: bool, /) -> None: ...
    @property
    def fabric(self) -> Fabric:
        """The same interrupts for devices that live in Rust."""
        ...


class GsiLine:
    """One global system interrupt, driven by one device."""

    __slots__ = ("_gsi", "_set_irq")

    def __init__(self, set_irq: Callable[[int, bool], None], gsi: int) -> None:
        self._set_irq = set_irq
        self._gsi = gsi

    def set(self, level: bool, /) -> None:
        self._set_irq(self._gsi, level)

    def pulse(self) -> None:
        self._set_irq(self._gsi, True)
        self._set_irq(self._gsi, False)
