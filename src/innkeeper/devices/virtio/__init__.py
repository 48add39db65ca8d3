"""Virtio devices in PCI slots. Queues, registers and data paths are Rust's; configuration space is here."""

from innkeeper.devices.virtio.balloon import Balloon
from innkeeper.devices.virtio.function import VirtioSlot
from innkeeper.devices.virtio.input import VirtioInputs

__all__ = ["Balloon", "VirtioInputs", "VirtioSlot"]
