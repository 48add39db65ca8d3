"""The south bridge of a PC: the way to the ISA devices with its interrupt routing, and power management.

Spec: Intel 82371SB (PIIX3) datasheet 290550, 2.3.8 (PIRQRC); Intel 82371AB (PIIX4) datasheet 290562, 7.1 (power management's
configuration). Left out: SMBus, SMM (which is marked as set up already, so that firmware leaves it alone), timers, GPI/O.
"""

from __future__ import annotations

from typing import Protocol

from innkeeper.bus import Buses, Device
from innkeeper.devices.pci.config_space import INTERRUPT_LINE, PciFunction, PciIdentity

INTEL = 0x8086
CLASS_ISA_BRIDGE, CLASS_OTHER_BRIDGE = 0x060100, 0x068000

PIRQ_ROUTES, PIRQS = 0x60, 4
PIRQ_OFF, PIRQ_IRQ = 0x80, 0x0F
ROUTABLE = frozenset((3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15))

PM_BASE, PM_BASE_BITS = 0x40, 0xFFC0
PM_MISC, PM_IO_ENABLE = 0x80, 0x01
DEVICE_ACTIVITY_B, APMC_ENABLE = 0x58, 1 << 25
PM_BYTES = 64


class Routing(Protocol):
    """The board's INTx wires."""

    def route(self, pirq: int, irq: int | None, /) -> None: ...


class IsaBridge(PciFunction):
    """An Intel 82371SB's first function. `routes` are the interrupts of PIRQA to PIRQD to begin with; 0x80: none."""

    def __init__(self, wires: Routing | None = None, routes: bytes = bytes([PIRQ_OFF] * PIRQS)) -> None:
        super().__init__(PciIdentity(vendor=INTEL, device=0x7000, class_code=CLASS_ISA_BRIDGE), multifunction=True)
        self._wires = wires
        self.put(PIRQ_ROUTES, PIRQS, int.from_bytes(routes, "little"), writable=0x8F8F_8F8F)
        self._route()

    def write_config(self, offset: int, size: int, value: int) -> None:
        super().write_config(offset, size, value)
        if offset < PIRQ_ROUTES + PIRQS and offset + size > PIRQ_ROUTES:
            self._route()

    def unplug(self) -> None:
        super().unplug()
        self._wires = None

    def _route(self) -> None:
        for pirq in range(PIRQS):
            value = self.read_config(PIRQ_ROUTES + pirq, 1)
            irq = value & PIRQ_IRQ
            if self._wires is not None:
                self._wires.route(pirq, irq if not value & PIRQ_OFF and irq in ROUTABLE else None)


class PowerManagement(PciFunction):
    """An Intel 82371AB's fourth function: puts the ACPI registers at the ports that firmware chooses."""

    def __init__(self, registers: Device, *, base: int, sci: int, enabled: bool = True) -> None:
        identity = PciIdentity(vendor=INTEL, device=0x7113, class_code=CLASS_OTHER_BRIDGE, revision=3)
        super().__init__(identity, interrupt_pin=1)
        self._registers = registers
        self._at: int | None = None
        self.put(INTERRUPT_LINE, 1, sci, writable=0xFF)
        self.put(PM_BASE, 4, base | 1, writable=PM_BASE_BITS)
        self.put(PM_MISC, 1, PM_IO_ENABLE if enabled else 0, writable=PM_IO_ENABLE)
        self.put(DEVICE_ACTIVITY_B, 4, APMC_ENABLE, writable=0xFFFF_FFFF)

    @property
    def base(self) -> int:
        return self.read_config(PM_BASE, 2) & PM_BASE_BITS

    def plug(self, buses: Buses) -> None:
        super().plug(buses)
        self._place()

    def write_config(self, offset: int, size: int, value: int) -> None:
        super().write_config(offset, size, value)
        if (offset < PM_BASE + 4 and offset + size > PM_BASE) or offset <= PM_MISC < offset + size:
            self._place()

    def unplug(self) -> None:
        self._move(None)
        super().unplug()

    def _place(self) -> None:
        enabled = self.read_config(PM_MISC, 1) & PM_IO_ENABLE and self.base
        self._move(self.base if enabled else None)

    def _move(self, base: int | None) -> None:
        if self._buses is None or base == self._at:
            return
        if self._at is not None:
            self._buses.unmap_ports(self._at)
            self._at = None
        if base is None:
            return
        try:
            self._buses.map_ports(base, PM_BYTES, self._registers)
        except ValueError:
            return  # on top of other ports, which stay
        self._at = base
