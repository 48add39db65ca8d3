"""Configuration → the devices in a board's slots, with what each has on the host: files, links, screens.

To add a kind of device: its part of `MachineConfig`, and a line in `open_peripherals`.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from innkeeper.config import MachineConfig
from innkeeper.devices.pci import PciDevice
from innkeeper.machine import virtio
from innkeeper.machine.desk import Desk


@dataclass(frozen=True, slots=True)
class Peripherals:
    """What is plugged into a machine, from its start to its end. A reset does not touch it."""

    slots: tuple[PciDevice, ...]
    """In the order of their slots, from the first that the board leaves free."""
    desk: Desk
    """Screen, keyboard and pointer."""
    _held: ExitStack

    def close(self) -> None:
        """Lets go of everything on the host."""
        self._held.close()


def open_peripherals(config: MachineConfig) -> Peripherals:
    """Raises `InnkeeperError` if something that a device needs cannot be had; then nothing is held."""
    with ExitStack() as held:
        slots: list[PciDevice] = []
        slots += virtio.simple_devices(config)
        return Peripherals(tuple(slots), Desk(None), held.pop_all())
