"""Virtio devices in PCI slots. Queues, registers and data paths are Rust's; configuration space is here."""

from innkeeper.devices.virtio.function import VirtioSlot

__all__ = ["VirtioSlot"]
