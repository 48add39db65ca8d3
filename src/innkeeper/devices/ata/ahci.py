"""The AHCI controller of an Intel ICH9: six ports, one interrupt by pin or MSI.

Spec: AHCI 1.3.1, 2.1 (configuration space); PCI Local Bus 3.0, 6.8.1 (MSI).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from innkeeper.bus.state import Plain
from innkeeper.devices.boot import BootEntry, BootKind
from innkeeper.devices.pci import Bar, BarKind, PciFunction, PciIdentity, PciSite
from innkeeper.devices.pci.config_space import COMMAND, COMMAND_MASTER, STATUS

if TYPE_CHECKING:
    from innkeeper import _core

PORTS = 6
REGION_BAR, REGION_BYTES = 5, 0x1000
IDENTITY = PciIdentity(vendor=0x8086, device=0x2922, class_code=0x010601, revision=2)
COMMAND_PIN_OFF = 1 << 10
STATUS_CAPABILITIES = 1 << 4
CAPABILITIES = 0x34
# The MSI capability: 0 its number │ 2 control │ 4 address, 64 bits │ 12 data
MSI, MSI_CONTROL, MSI_ADDRESS, MSI_DATA = 0x80, 0x82, 0x84, 0x8C
MSI_ID = 0x05
CONTROL_ENABLE, CONTROL_64 = 1 << 0, 1 << 7


def drive_entry(port: int, kind: BootKind, order: int | None) -> BootEntry:
    """How firmware names the drive on a port."""
    return BootEntry(kind, f"pci8086,2922@{{unit}}/drive@{port:x}/disk@0", order)


class AhciFunction(PciFunction):
    """Configuration space of the controller."""

    def __init__(self, controller: _core.AhciController) -> None:
        super().__init__(IDENTITY, interrupt_pin=1)
        self._controller = controller
        self.put(STATUS, 2, STATUS_CAPABILITIES)
        self.put(CAPABILITIES, 1, MSI)
        self.put(MSI, 2, MSI_ID)
        self.put(MSI_CONTROL, 2, CONTROL_64, writable=CONTROL_ENABLE)
        self.put(MSI_ADDRESS, 8, 0, writable=0xFFFF_FFFF_FFFF_FFFC)
        self.put(MSI_DATA, 2, 0, writable=0xFFFF)
        self.add_bar(REGION_BAR, Bar(BarKind.MEMORY32, REGION_BYTES, controller.region()))

    def write_config(self, offset: int, size: int, value: int) -> None:
        super().write_config(offset, size, value)
        command = self.read_config(COMMAND, 2)
        on = self.read_config(MSI_CONTROL, 2) & CONTROL_ENABLE
        message = (self.read_config(MSI_ADDRESS, 8), self.read_config(MSI_DATA, 2)) if on else None
        self._controller.set_master(bool(command & COMMAND_MASTER))
        self._controller.set_interrupts(bool(command & COMMAND_PIN_OFF), message)

    def pause(self) -> None:
        """Raises `BlockingIOError` if the guest is in the middle of something with a drive."""
        self._controller.pause()

    def go_on(self) -> None:
        """Drives do nothing by themselves."""

    def device_state(self) -> Plain:
        return self._controller.state()

    def restore_device(self, state: Plain) -> None:
        self._controller.restore(state)

    def unplug(self) -> None:
        super().unplug()
        self._controller.close()


class Ahci:
    """The controller with its drives, by port. `boot` says what can be booted from which port."""

    def __init__(self, drives: Sequence[_core.AtaDrive | None], boot: tuple[BootEntry, ...] = ()) -> None:
        self._drives = [*drives, *[None] * (PORTS - len(drives))]
        self._boot = boot

    def boot_entries(self) -> tuple[BootEntry, ...]:
        return self._boot

    def function(self, site: PciSite, /) -> PciFunction:
        from innkeeper import _core

        # Both come from the engine and the board's wires, which are the core's wherever its devices are.
        memory, pin = cast("_core.Memory", site.memory), cast("_core.Line", site.intx)
        return AhciFunction(_core.AhciController(memory, site.buses.fabric, pin, self._drives))
