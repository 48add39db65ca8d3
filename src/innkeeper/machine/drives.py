"""Disks and CD-ROM drives behind IDE and SATA: images opened and checked, drives in their places.

The first IDE disk is the primary master; CD-ROM drives begin with the secondary one, where PCs have them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.config import DiskConfig
from innkeeper.config.disk import Discard, DiskBus, DiskDevice
from innkeeper.devices.ata import Piix3Ide
from innkeeper.devices.ata.ide import drive_entry
from innkeeper.devices.boot import BootEntry, BootKind
from innkeeper.errors import ConfigError, HostError

if TYPE_CHECKING:
    from innkeeper import _core

DISK_MODEL, CDROM_MODEL = "INNKEEPER DISK", "INN DVD-ROM"
IDE_PLACES = {DiskDevice.DISK: (0, 1, 2, 3), DiskDevice.CDROM: (2, 3, 0, 1)}
"""In which order drives take the places: primary master and slave, secondary master and slave."""


logger = logging.getLogger(__name__)


class CdromDrive:
    """One CD-ROM drive of a machine, and the disc in it."""

    def __init__(self, config: DiskConfig) -> None:
        """Raises `InnkeeperError` if the disc cannot be had, or is none."""
        from innkeeper import _core

        self._disc = open_disc(config) if config.path is not None else None
        self._path = config.path
        self.tray = _core.CdTray(self._disc)

    @property
    def path(self) -> Path | None:
        """The disc that was put in last."""
        return self._path

    def change(self, path: Path | None, *, force: bool = False, check: bool = True) -> None:
        """Puts another disc in, or takes it out. Raises `InnkeeperError`; then the old one stays."""
        disc = open_disc(replace(DiskConfig.cdrom(path), check=check)) if path is not None else None
        if not self.tray.change(disc, force=force):
            raise HostError(
                "the guest has locked the CD-ROM drive; it was asked to let go, or take the disc out by force"
            )
        before, self._disc, self._path = self._disc, disc, path
        if before is not None:
            before.close()

    def close(self) -> None:
        self.tray.change(None, force=True)
        if self._disc is not None:
            self._disc.close()


def open_image(config: DiskConfig) -> _core.Disk:
    """Raises `InnkeeperError` if the file cannot be opened as what it is said to be."""
    from innkeeper import _core

    try:
        disk = _core.Disk(
            str(config.path),
            format=config.format and config.format.value,
            read_only=config.readonly,
            cache=config.cache.value,
            discard=config.discard.value,
            detect_zeroes=config.detect_zeroes.value,
        )
    except OSError as error:
        raise HostError(error.strerror or str(error)) from error
    except ValueError as error:
        raise ConfigError(str(error)) from error
    for warning in disk.warnings:
        logger.warning("%s", warning)
    return disk


def open_disc(config: DiskConfig) -> _core.Disk:
    """The same, and that it is a disc's: whoever mistakes another file for one is told before the guest starts."""
    from innkeeper import _core

    disc = open_image(config)
    try:
        known = not config.check or _core.probe_iso(disc) is not None
    except OSError as error:
        disc.close()
        raise HostError(f"cannot read {config.path}: {error.strerror or error}") from error
    if not known:
        disc.close()
        raise ConfigError(f"{config.path} is no ISO image: it has no file system of discs; check=no inserts it anyway")
    return disc


class Drives:
    """The drives of a machine that are not virtio's: open until `held` lets go of them."""

    def __init__(self, disks: Sequence[DiskConfig], held: ExitStack) -> None:
        """Raises `InnkeeperError`."""
        self.cdroms: list[CdromDrive] = []
        self._held = held
        self._ide_boot: list[BootEntry] = []
        self._ide = self._places([disk for disk in disks if disk.bus is DiskBus.IDE])

    def ide(self) -> Piix3Ide | None:
        """The IDE controller, if there is something behind it."""
        if not any(self._ide):
            return None
        return Piix3Ide((self._ide[0], self._ide[1]), (self._ide[2], self._ide[3]), tuple(self._ide_boot))

    def _places(self, disks: list[DiskConfig]) -> list[_core.AtaDrive | None]:
        places: list[_core.AtaDrive | None] = [None] * 4
        for number, config in enumerate(disks):
            free = [place for place in IDE_PLACES[config.device] if places[place] is None]
            if not free:
                raise ConfigError(f"{len(disks)} drives are on bus ide; it has 4 places, so put the others on sata")
            places[free[0]] = self._drive(config, f"INN{number:05}")
            kind = BootKind.CDROM if config.device is DiskDevice.CDROM else BootKind.HD
            self._ide_boot.append(drive_entry(free[0], kind, config.boot_order))
        return places

    def _drive(self, config: DiskConfig, serial: str) -> _core.AtaDrive:
        from innkeeper import _core

        serial = config.serial or serial
        if config.device is DiskDevice.CDROM:
            cdrom = CdromDrive(config)
            self._held.callback(cdrom.close)
            self.cdroms.append(cdrom)
            return _core.AtaDrive(cdrom.tray, serial=serial, model=CDROM_MODEL)
        if config.readonly:
            raise ConfigError(
                f"disk {config.path} is read-only and on bus {config.bus}; ATA disks cannot be, so use virtio"
            )
        disk = open_image(config)
        self._held.callback(disk.close)
        return _core.AtaDrive(disk, serial=serial, model=DISK_MODEL, trim=config.discard is Discard.UNMAP)
