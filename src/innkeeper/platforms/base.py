"""What a board is given by the machine that it is built for."""

from collections.abc import Mapping
from dataclasses import field
from typing import Protocol

from innkeeper.bus import Buses, Clock
from innkeeper.devices.cpu_hotplug import Sockets
from innkeeper.devices.pci import PciDevice
from innkeeper.devices.uart import ConsoleSink
from innkeeper.memory import GuestMemory
from innkeeper.records import dataclass


class Control(Protocol):
    """What a guest can ask of the machine itself. Called from a vCPU's thread; returns at once."""

    def power_off(self) -> None: ...
    def suspend(self) -> None:
        """Sleeps with memory kept, until `wake`."""
        ...

    def wake(self) -> None: ...
    def reset(self) -> None: ...
    def leave(self, status: int, /) -> None:
        """Ends the machine with a test guest's exit status."""
        ...


class Backplane(Protocol):
    """The machine's side of the slots, which outlives boards. `index` counts slots as `Surroundings.slots` does."""

    def is_removable(self, index: int, /) -> bool:
        """Whether the guest may be asked to let go of what is there."""
        ...

    def ejected(self, index: int, /) -> None:
        """The guest was asked to let go of it, and has: it is off the board. Called from a vCPU's thread."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Everything around a board."""

    buses: Buses
    memory: GuestMemory
    clock: Clock
    console: ConsoleSink
    control: Control
    slots: tuple[PciDevice | None, ...] = ()
    """What is plugged in, in the order of its slots; None where one is empty, as those behind the last are."""
    backplane: Backplane | None = None
    """Who decides what may leave its slot; without one, nothing does."""
    sockets: Sockets | None = None
    """Who knows which processors there are; without them, all that the board has places for."""
    places: Mapping[str, PciDevice] = field(default_factory=dict)
    """What has a place of its own on the board, by the board's names for these."""
