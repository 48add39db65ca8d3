"""Configuration → network cards, each with its link on the host."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from innkeeper.config import BootDevice, CardModel, FirmwareKind, LinkState, MachineConfig, NetworkConfig, NetworkKind
from innkeeper.devices.boot import NETWORK_PATH, BootEntry, BootKind
from innkeeper.devices.e1000 import E1000Slot
from innkeeper.devices.virtio import VirtioSlot
from innkeeper.errors import HostError
from innkeeper.firmware.files import read_file
from innkeeper.host.packages import network_rom
from innkeeper.machine.backplane import Plugged
from innkeeper.net import Opened, open_link, stable_mac

logger = logging.getLogger(__name__)

MACHINE_ID = Path("/etc/machine-id")
QUEUES_BY_ITSELF = 4  # more help nobody


class Card(Plugged):
    """A network card of a machine, with its cable."""

    def __init__(self, network: NetworkConfig, mac: bytes, opened: Opened, rom: bytes | None, queues: int) -> None:
        self.network, self.opened, self.pci_slot = network, opened, network.slot
        self.mac = mac.hex(":")
        self.up = network.link is LinkState.UP
        if network.model is CardModel.E1000:
            e1000 = E1000Slot(opened.link, mac, up=self.up, rom=rom)
            self.slot = e1000
            self._set_up: Callable[[bool], None] | None = e1000.set_up
            return
        from innkeeper._core import NetCard

        card = NetCard(opened.link, mac, queues=queues, mtu=network.mtu)
        card.set_up(self.up)
        self.slot = VirtioSlot(card.device(), boot=BootEntry(BootKind.NETWORK, NETWORK_PATH), rom=rom)
        self._set_up = card.set_up

    @property
    def name(self) -> str:
        return f"card {self.mac}"

    @property
    def target(self) -> str:
        """The interface on the host, if there is one."""
        return self.opened.link.name or ""

    def set_link(self, *, up: bool) -> None:
        """Plugs the cable in, or pulls it."""
        if self._set_up is not None:
            self._set_up(up)
            self.up = up

    def close(self) -> None:
        super().close()
        self._set_up = None  # the last that holds the card
        self.opened.close()


def network_cards(config: MachineConfig, held: ExitStack) -> list[Card]:
    """Raises `HostError`. What is opened is closed with `held`."""
    networks = [network for network in config.networks if network.kind is not NetworkKind.NONE]
    cards = []
    for index, network in enumerate(networks):
        cards.append(open_card(config, network, index))
        held.callback(cards[-1].close)
    return cards


def open_card(config: MachineConfig, network: NetworkConfig, index: int) -> Card:
    """Raises `HostError`."""
    mac = bytes.fromhex(network.mac.replace(":", "")) if network.mac else stable_mac(identity(config), index)
    rom, queues = boot_rom(config, network.model), network.queues or queues_of(network, config.vcpus)
    opened = open_link(network, mac, config.name)
    logger.info("network card %d (%s, %s): %s", index, network.model, mac.hex(":"), opened.described)
    try:
        return Card(network, mac, opened, rom, queues)
    except BaseException:
        opened.close()
        raise


def boot_rom(config: MachineConfig, model: CardModel) -> bytes | None:
    """What firmware boots from the card by. Raises `HostError` if it was asked to and there is none."""
    if config.started_by is None:
        return None
    path = network_rom(model)
    if path is not None:
        return read_file(path, "network boot ROM")
    by_itself = config.started_by.kind is FirmwareKind.UEFI and model is CardModel.VIRTIO  # OVMF has a driver, and PXE
    if config.boot is not None and BootDevice.NETWORK in config.boot.order and not by_itself:
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
