"""The slots of a `pc` board: what is in each when it starts, and what is plugged in and pulled out while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from innkeeper.devices.pci import HotplugState, PciBus, PciDevice, PciHotplug, PciSite
from innkeeper.devices.pci.bus import SLOTS
from innkeeper.platforms.base import Surroundings

if TYPE_CHECKING:
    from innkeeper._core import PciInterrupts

INTA = 0
FIRST_FREE = 2  # slots before hold the board's own bridges

Place = tuple[int, int]
"""Slot and function number."""


class PcSlots:
    """Devices in their slots. `event` has the guest look at the registers of hot plug, which are `registers`."""

    def __init__(
        self,
        around: Surroundings,
        bus: PciBus,
        wires: PciInterrupts,
        placed: dict[Place, PciDevice],
        event: Callable[[], None],
        kept: HotplugState | None,
    ) -> None:
        self._bus, self._wires = bus, wires
        self._around = replace(around, slots=())  # those that are pulled out shall be gone
        in_slots = enumerate(around.slots, FIRST_FREE)
        self.devices = placed | {(slot, 0): device for slot, device in in_slots if device is not None}
        self.pluggable = tuple(slot for slot in range(SLOTS) if self._is_pluggable(slot))
        """Which may change, as the guest is told once."""
        self.registers = PciHotplug(event, self._eject, kept)

    def plug_all(self) -> None:
        for (slot, number), device in self.devices.items():
            self._plug(slot, number, device)

    def fill(self, index: int, device: PciDevice) -> None:
        """Plugs a device in while the guest runs. `index` counts as in `Surroundings.slots`."""
        slot = FIRST_FREE + index
        self._plug(slot, 0, device)
        self.devices[slot, 0] = device
        self.registers.fill(slot)

    def ask_for(self, index: int) -> None:
        """Asks the guest to let go of a device; the backplane hears when it has."""
        self.registers.ask(FIRST_FREE + index)

    def asked(self) -> list[int]:
        """Which devices the guest has yet to let go of, as `ask_for` counts them."""
        return [slot - FIRST_FREE for slot in self.registers.asked()]

    def _plug(self, slot: int, number: int, device: PciDevice) -> None:
        intx = self._wires.pin(slot, INTA)
        site = PciSite(slot=slot, memory=self._around.memory, buses=self._around.buses, intx=intx)
        self._bus.plug(slot, device.function(site), number)

    def _is_pluggable(self, slot: int) -> bool:
        """Whether a slot is empty, or what is in it may go."""
        backplane, index = self._around.backplane, slot - FIRST_FREE
        empty = (slot, 0) not in self.devices
        return index >= 0 and (empty or (backplane is not None and backplane.is_removable(index)))

    def _eject(self, slot: int) -> None:
        """The guest lets go of a slot. What nobody asked it for is there again, as after power-on."""
        device, backplane = self.devices.get((slot, 0)), self._around.backplane
        if device is None or backplane is None or not self._is_pluggable(slot) or not self._bus.unplug(slot):
            return
        if self.registers.settle(slot):
            del self.devices[slot, 0]
            backplane.ejected(slot - FIRST_FREE)
        else:
            self._plug(slot, 0, device)
