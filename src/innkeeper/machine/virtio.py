"""Configuration → virtio devices, with what each has on the host."""

from __future__ import annotations

from innkeeper.config import MachineConfig
from innkeeper.devices.pci import PciDevice
from innkeeper.devices.virtio import VirtioSlot


def simple_devices(config: MachineConfig) -> list[PciDevice]:
    """Those that hold nothing."""
    if not config.rng:
        return []
    from innkeeper._core import VirtioDevice

    return [VirtioSlot(VirtioDevice.rng())]
