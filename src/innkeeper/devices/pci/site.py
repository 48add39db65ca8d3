"""Where a PCI function is plugged in, and what can be."""

from typing import Protocol

from innkeeper.bus import Buses, IrqLine
from innkeeper.devices.pci.config_space import PciFunction
from innkeeper.memory import GuestMemory
from innkeeper.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PciSite:
    """One slot of a board."""

    slot: int
    memory: GuestMemory
    buses: Buses
    intx: IrqLine
    """The wire of pin INTA."""


class PciDevice(Protocol):
    """What is in a slot. It outlives boards, and with it what it has on the host; its functions do not."""

    def function(self, site: PciSite, /) -> PciFunction:
        """The same device after power-on."""
        ...
