"""Configuration → network cards, each with its link on the host."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from pathlib import Path

from innkeeper.config import BootDevice, CardModel, LinkState, MachineConfig, NetworkConfig, NetworkKind
from innkeeper.devices.boot import NETWORK_PATH, BootEntry, BootKind
from innkeeper.devices.e1000 import E1000Slot
from innkeeper.devices.pci import PciDevice
from innkeeper.devices.virtio import VirtioSlot
from innkeeper.errors import HostError
from innkeeper.firmware.image import read_file
from innkeeper.host.packages import network_rom
from innkeeper.net import open_link, stable_mac

logger = logging.getLogger(__name__)

MACHINE_ID = Path("/etc/machine-id")
QUEUES_BY_ITSELF = 4  # more help nobody


def network_cards(config: MachineConfig, held: ExitStack) -> list[PciDevice]:
    """Raises `HostError`. What is opened is closed with `held`."""
    cards = [network for network in config.networks if network.kind is not NetworkKind.NONE]
    return [open_card(config, network, index, held) for index, network in enumerate(cards)]


def open_card(config: MachineConfig, network: NetworkConfig, index: int, held: ExitStack) -> PciDevice:
    mac = bytes.fromhex(network.mac.replace(":", "")) if network.mac else stable_mac(identity(config), index)
    opened = open_link(network, mac, config.name)
    held.callback(opened.close)
    logger.info("network card %d (%s, %s): %s", index, network.model, mac.hex(":"), opened.described)
    if network.model is CardModel.E1000:
        rom = boot_rom(config, network.model)
        return E1000Slot(opened.link, mac, up=network.link is LinkState.UP, rom=rom)
    from innkeeper._core import NetCard

    queues = network.queues or queues_of(network, config.vcpus)
    card = NetCard(opened.link, mac, queues=queues, mtu=network.mtu)
    card.set_up(network.link is LinkState.UP)
    return VirtioSlot(
        card.device(),
        boot=BootEntry(BootKind.NETWORK, NETWORK_PATH),
        rom=boot_rom(config, network.model),
    )


def boot_rom(config: MachineConfig, model: CardModel) -> bytes | None:
    """What firmware boots from the card by. Raises `HostError` if it was asked to and there is none."""
    if config.started_by is None:
        return None
    path = network_rom(model)
    if path is not None:
        return read_file(path, "network boot ROM")
    if config.boot is not None and BootDevice.NETWORK in config.boot.order:
        raise HostError(
            "firmware boots from networks by iPXE, which Debian's package ipxe-qemu has; "
            "as root: apt-get install ipxe-qemu"
        )
    return None


def queues_of(network: NetworkConfig, vcpus: int) -> int:
    """One thread moves a user network's bytes, so more queues than one help only elsewhere."""
    return (
        1 if network.kind is NetworkKind.USER or network.model is not CardModel.VIRTIO else min(vcpus, QUEUES_BY_ITSELF)
    )


def identity(config: MachineConfig) -> list[str]:
    """What makes a machine the same machine when it is started again: its UUID or its name on this host; if it has neither,
    the files that it is made of.
    """
    if config.uuid is not None:
        return [str(config.uuid)]
    try:
        host = MACHINE_ID.read_text().strip()
    except OSError:
        host = os.uname().nodename
    if config.name is not None:
        return [host, config.name]
    files = [config.kernel, config.initrd, *(disk.path for disk in config.disks)]
    return [host, *(str(path.absolute()) for path in files if path is not None)]
