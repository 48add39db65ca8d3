"""Configuration → virtio devices, with what each has on the host."""

from __future__ import annotations

from contextlib import ExitStack

from innkeeper.config import DiskConfig, MachineConfig
from innkeeper.config.disk import Discard, DiskBus
from innkeeper.devices.boot import BootEntry, BootKind
from innkeeper.devices.pci import PciDevice
from innkeeper.devices.virtio import VirtioSlot
from innkeeper.machine.disks import open_disk


def virtio_disks(config: MachineConfig, held: ExitStack) -> list[PciDevice]:
    disks = (disk for disk in config.disks if disk.bus is DiskBus.VIRTIO)
    return [virtio_disk(disk, config.vcpus, held) for disk in disks]


def virtio_disk(config: DiskConfig, vcpus: int, held: ExitStack) -> PciDevice:
    from innkeeper._core import VirtioDevice

    device = VirtioDevice.blk(
        open_disk(config, held),
        serial=config.serial,
        read_only=config.readonly,
        queues=config.queues or vcpus,
        cache=config.cache,
        discard=config.discard is Discard.UNMAP,
    )
    return VirtioSlot(device, boot=BootEntry(BootKind.HD, "scsi@{unit}/disk@0,0", config.boot_order))


def simple_devices(config: MachineConfig) -> list[PciDevice]:
    """Those that hold nothing."""
    if not config.rng:
        return []
    from innkeeper._core import VirtioDevice

    return [VirtioSlot(VirtioDevice.rng())]
