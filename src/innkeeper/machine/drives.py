"""Disks and CD-ROM drives behind IDE and SATA: images opened and checked, drives in their places.

The first IDE disk is the primary master; CD-ROM drives begin with the secondary one, where PCs have them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.config import DiskConfig
from innkeeper.config.disk import Discard, DiskBus, DiskDevice
from innkeeper.config.targets import targets
from innkeeper.devices.ata import Ahci, Piix3Ide
from innkeeper.devices.ata.ahci import PORTS
from innkeeper.devices.ata.ahci import drive_entry as ahci_entry
from innkeeper.devices.ata.ide import drive_entry as ide_entry
from innkeeper.devices.boot import BootEntry, BootKind
from innkeeper.errors import ConfigError, HostError
from innkeeper.machine.disks import open_disk
from innkeeper.records import dataclass

if TYPE_CHECKING:
    from innkeeper import _core

DISK_MODEL, CDROM_MODEL = "INNKEEPER DISK", "INN DVD-ROM"
Places = Mapping[DiskDevice, Sequence[int]]
"""In which order drives take the places of a bus."""
IDE: Places = {DiskDevice.DISK: (0, 1, 2, 3), DiskDevice.CDROM: (2, 3, 0, 1)}  # masters and slaves
SATA: Places = dict.fromkeys(DiskDevice, range(PORTS))
EntryOf = Callable[[int, BootKind, int | None], BootEntry]
EMPTY = DiskConfig(path=None, device=DiskDevice.CDROM, bus=DiskBus.IDE)


class CdromDrive:
    """One CD-ROM drive of a machine, and the disc in it."""

    def __init__(self, config: DiskConfig) -> None:
        """Raises `InnkeeperError` if the disc cannot be had, or is none."""
        from innkeeper import _core

        self._held = ExitStack()
        self._path = config.path
        self.disc = self._opened(config, self._held)
        self.tray = _core.CdTray(self.disc)

    @property
    def path(self) -> Path | None:
        """The disc that was put in last."""
        return self._path

    def change(self, path: Path | None, *, force: bool = False, check: bool = True) -> None:
        """Puts another disc in, or takes it out. Raises `InnkeeperError`; then the old one stays."""
        with ExitStack() as held:
            config = DiskConfig.cdrom(path) if path is not None else EMPTY
            disc = self._opened(replace(config, check=check), held)
            if not self.tray.change(disc, force=force):
                raise HostError(
                    "the guest has locked the CD-ROM drive; it was asked to let go, or take the disc by force"
                )
            self._held.close()
            self._held, self._path, self.disc = held.pop_all(), path, disc

    def close(self) -> None:
        self.tray.change(None, force=True)
        self._held.close()

    @staticmethod
    def _opened(config: DiskConfig, held: ExitStack) -> _core.Disk | None:
        """Closed again if it is none."""
        if config.path is None:
            return None
        with ExitStack() as opened:
            disc = open_disc(config, opened)
            held.push(opened.pop_all())
        return disc


@dataclass(slots=True, eq=False)
class Drive:
    """A drive behind a controller, and what is in it."""

    config: DiskConfig
    target: str
    contents: CdromDrive | _core.Disk


def open_disc(config: DiskConfig, held: ExitStack) -> _core.Disk:
    """Opens what a disc is made of: whoever mistakes another file for one is told before the guest starts."""
    from innkeeper import _core

    disc = open_disk(config, held)
    try:
        known = not config.check or _core.probe_iso(disc) is not None
    except OSError as error:
        raise HostError(f"cannot read {config.path}: {error.strerror or error}") from error
    if not known:
        raise ConfigError(f"{config.path} is no ISO image: it has no file system of discs; check=no inserts it anyway")
    return disc


class Drives:
    """The drives of a machine that are not virtio's: open until `held` lets go of them."""

    def __init__(self, disks: Sequence[DiskConfig], held: ExitStack) -> None:
        """Raises `InnkeeperError`."""
        self.cdroms: list[CdromDrive] = []
        self.all: list[Drive] = []
        self._held = held
        self._numbers = {id(disk): number for number, disk in enumerate(disks)}
        named = list(zip(disks, targets(disks), strict=True))
        self._ide = self._places([one for one in named if one[0].bus is DiskBus.IDE], IDE)
        self._sata = self._places([one for one in named if one[0].bus is DiskBus.SATA], SATA)

    def ide(self) -> Piix3Ide | None:
        """The IDE controller, if there is something behind it."""
        if not self._ide:
            return None
        drives = [self._ide[place][1] if place in self._ide else None for place in range(4)]
        boot = [self._numbered(ide_entry, place, config) for place, (config, _) in self._ide.items()]
        return Piix3Ide((drives[0], drives[1]), (drives[2], drives[3]), tuple(boot))

    def sata(self) -> Ahci | None:
        """The AHCI controller, if there is something behind it."""
        if not self._sata:
            return None
        drives = [self._sata[place][1] if place in self._sata else None for place in range(PORTS)]
        boot = [self._numbered(ahci_entry, place, config) for place, (config, _) in self._sata.items()]
        return Ahci(drives, tuple(boot))

    def _numbered(self, entry: EntryOf, place: int, config: DiskConfig) -> BootEntry:
        return replace(entry(place, kind_of(config), config.boot_order), given=self._numbers[id(config)])

    def _places(
        self, disks: list[tuple[DiskConfig, str]], places: Places
    ) -> dict[int, tuple[DiskConfig, _core.AtaDrive]]:
        taken: dict[int, tuple[DiskConfig, _core.AtaDrive]] = {}
        for number, (config, target) in enumerate(disks):
            free = [place for place in places[config.device] if place not in taken]
            if not free:
                raise ConfigError(
                    f"{len(disks)} drives are on bus {config.bus}; it has {number} places, so put others elsewhere"
                )
            taken[free[0]] = (config, self._drive(config, target, f"INN-{config.bus}-{free[0]}"))
        return dict(sorted(taken.items()))

    def _drive(self, config: DiskConfig, target: str, serial: str) -> _core.AtaDrive:
        from innkeeper import _core

        serial = config.serial or serial
        if config.device is DiskDevice.CDROM:
            cdrom = CdromDrive(config)
            self._held.callback(cdrom.close)
            self.cdroms.append(cdrom)
            self.all.append(Drive(config, target, cdrom))
            return _core.AtaDrive(cdrom.tray, serial=serial, model=CDROM_MODEL)
        if config.readonly:
            why = "ATA disks cannot be, so put it on virtio"
            raise ConfigError(f"disk {config.path} is read-only and on bus {config.bus}; {why}")
        disk = open_disk(config, self._held)
        self.all.append(Drive(config, target, disk))
        return _core.AtaDrive(disk, serial=serial, model=DISK_MODEL, trim=config.discard is Discard.UNMAP)


def kind_of(config: DiskConfig) -> BootKind:
    return BootKind.CDROM if config.device is DiskDevice.CDROM else BootKind.HD
