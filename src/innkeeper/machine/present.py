"""The cards and disks of a running machine as they are now: for those who look, and as configurations of another one like it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from innkeeper.config import CardModel, DiskConfig, LinkState, MachineConfig, NetworkConfig
from innkeeper.config.disk import DiskFormat
from innkeeper.machine.backplane import Backplane
from innkeeper.machine.drives import Drive
from innkeeper.machine.figures import image_of, source_of
from innkeeper.machine.network import Card
from innkeeper.machine.virtio import VirtioDisk
from innkeeper.platforms.pc_slots import FIRST_FREE
from innkeeper.records import dataclass


class CardNow(TypedDict):
    """A network card as it is now."""

    target: str
    type: str
    source: str
    model: str
    mac: str
    link: str
    note: str  # what its user should know: the cable leads elsewhere than was asked for
    leases: list[tuple[str, str, str | None]]  # MAC address, IP address, host's name


class DiskNow(TypedDict):
    """A disk or CD-ROM drive as it is now."""

    target: str
    source: str
    chain: list[str]  # its images, downwards
    format: str
    bus: str
    device: str
    readonly: bool
    size: int
    serial: str
    slot: int | None  # PCI's, of a virtio disk


@dataclass(frozen=True, slots=True)
class PresentDisk:
    """`format` is that of its image, `slot` the one on PCI bus 0 if it is in one by itself, `document` what whoever plugged it in
    calls it.
    """

    config: DiskConfig
    format: str
    slot: int | None
    document: str | None


@dataclass(frozen=True, slots=True)
class PresentCard:
    """As `PresentDisk`."""

    config: NetworkConfig
    slot: int | None
    document: str | None


@dataclass(frozen=True, slots=True)
class Present:
    """All of them: disks in the order of the configuration, and then those that came later."""

    disks: tuple[PresentDisk, ...]
    cards: tuple[PresentCard, ...]

    def within(self, config: MachineConfig) -> MachineConfig:
        """The configuration of a machine that has these."""
        return replace(
            config,
            disks=tuple(disk.config for disk in self.disks),
            networks=tuple(card.config for card in self.cards),
        )


def slot_of(item: VirtioDisk | Card, backplane: Backplane) -> int | None:
    """On PCI bus 0."""
    index = backplane.index_of(item)
    return None if index is None else FIRST_FREE + index


def present(disks: Iterable[VirtioDisk | Drive], cards: Iterable[Card], backplane: Backplane) -> Present:
    def disk_of(disk: VirtioDisk | Drive) -> PresentDisk:
        source, image = source_of(disk), image_of(disk)
        config = replace(disk.config, target=disk.target, path=Path(source) if source else None)
        image_format = image.format if image is not None else DiskFormat.RAW.value
        if not isinstance(disk, VirtioDisk):
            return PresentDisk(config, image_format, None, None)
        return PresentDisk(config, image_format, slot_of(disk, backplane), disk.document)

    def card_of(card: Card) -> PresentCard:
        link = LinkState.UP if card.up else LinkState.DOWN
        return PresentCard(replace(card.network, mac=card.mac, link=link), slot_of(card, backplane), card.document)

    return Present(tuple(map(disk_of, disks)), tuple(map(card_of, cards)))


# ---- for those who look ----------------------------------------------------------------------------


def card_now(card: Card) -> CardNow:
    network = card.network
    return {
        "target": card.target,
        "type": network.kind.value,
        "source": network.name,
        "model": (network.model or CardModel.VIRTIO).value,
        "mac": card.mac,
        "link": "up" if card.up else "down",
        "leases": card.opened.link.leases(),
        "note": card.opened.note,
    }


def disk_now(disk: VirtioDisk | Drive, slot: int | None) -> DiskNow:
    core = image_of(disk)
    return {
        "target": disk.target,
        "source": source_of(disk),
        "chain": [str(path) for path in core.chain] if core is not None else [],
        "format": core.format if core is not None else "raw",
        "bus": disk.config.bus.value,
        "device": disk.config.device.value,
        "readonly": disk.config.readonly,
        "size": core.size if core is not None else 0,
        "serial": disk.config.serial,
        "slot": slot,
    }
