"""The IDE function of an Intel 82371SB (PIIX3): two channels at the legacy ports, with bus master DMA.

Spec: Intel 82371SB datasheet (290550), 2.4. The channels' decode bits are set after power-on, as a firmware leaves
them: a kernel that is booted without one needs its disks too. Left out: timing, which has no effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from innkeeper.bus import Buses
from innkeeper.bus.state import Plain
from innkeeper.devices.boot import BootEntry, BootKind
from innkeeper.devices.pci import Bar, BarKind, PciFunction, PciIdentity, PciSite
from innkeeper.devices.pci.config_space import COMMAND, COMMAND_MASTER, STATUS

if TYPE_CHECKING:
    from innkeeper import _core

CHANNELS = ((0x1F0, 0x3F6, 14), (0x170, 0x376, 15))  # command block, control block, IRQ
BUS_MASTER_BAR, BUS_MASTER_PORTS = 4, 16
COMMAND_BLOCK, CONTROL_BLOCK = 8, 1  # ports

# IDETIM of each channel: 15 the channel's ports are decoded │ 14-0 timing
TIMING, SLAVE_TIMING = 0x40, 0x44
DECODED = 0x8000
IDENTITY = PciIdentity(vendor=0x8086, device=0x7010, class_code=0x010180)
STATUS_FAST, STATUS_MEDIUM = 0x0080, 0x0200  # back-to-back, DEVSEL timing

Pair = tuple["_core.AtaDrive | None", "_core.AtaDrive | None"]


def drive_entry(place: int, kind: BootKind, order: int | None) -> BootEntry:
    """How firmware names the drive in a place: 0 and 1 are the primary channel's, 2 and 3 the secondary one's."""
    channel, unit = divmod(place, 2)
    return BootEntry(kind, f"ide@{{unit}}/drive@{channel:x}/disk@{unit:x}", order)


class Piix3Function(PciFunction):
    """Configuration space of the function, and the ports that it decodes."""

    def __init__(self, controller: _core.IdeController) -> None:
        super().__init__(IDENTITY)
        self._controller = controller
        self.put(STATUS, 2, STATUS_FAST | STATUS_MEDIUM)
        self.put(TIMING, 4, DECODED << 16 | DECODED, writable=0xFFFF_FFFF)
        self.put(SLAVE_TIMING, 1, 0, writable=0xFF)
        self.add_bar(BUS_MASTER_BAR, Bar(BarKind.IO, BUS_MASTER_PORTS, controller.bus_master()))
        for index, (command, control, _) in enumerate(CHANNELS):
            self.add_fixed(command, Bar(BarKind.IO, COMMAND_BLOCK, controller.command_block(index)))
            self.add_fixed(control, Bar(BarKind.IO, CONTROL_BLOCK, controller.control_block(index)))

    def decodes(self, base: int) -> bool:
        """A channel whose decode bit is clear is not there."""
        index = next(index for index, places in enumerate(CHANNELS) if base in places)
        return bool(self.read_config(TIMING + 2 * index, 2) & DECODED)

    def write_config(self, offset: int, size: int, value: int) -> None:
        super().write_config(offset, size, value)
        if offset < SLAVE_TIMING and offset + size > TIMING:
            self.place_regions()
        self._controller.set_master(bool(self.read_config(COMMAND, 2) & COMMAND_MASTER))

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


class Piix3Ide:
    """The controller with its drives: primary and secondary channel, master and slave of each."""

    def __init__(self, primary: Pair, secondary: Pair, boot: tuple[BootEntry, ...] = ()) -> None:
        self._drives = (primary, secondary)
        self._boot = boot

    def boot_entries(self) -> tuple[BootEntry, ...]:
        return self._boot

    def function(self, site: PciSite, /) -> PciFunction:
        from innkeeper import _core

        first, second = (self._line(site.buses, irq) for _, _, irq in CHANNELS)
        memory = cast("_core.Memory", site.memory)
        return Piix3Function(_core.IdeController(memory, (first, second), self._drives))

    @staticmethod
    def _line(buses: Buses, irq: int) -> _core.Line:
        return buses.fabric.line(irq)
