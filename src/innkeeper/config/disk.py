"""One disk or CD-ROM drive, in virt-install's words: `path=…,size=10,bus=virtio,format=qcow2`."""

import re
from enum import StrEnum
from pathlib import Path

from innkeeper.config.keyvalue import KeyValues
from innkeeper.config.slots import require_slot
from innkeeper.errors import ConfigError
from innkeeper.records import dataclass

SIZE_GIB_LIMIT = 1 << 20  # 1 PiB
QUEUES_LIMIT = 64
SERIAL_LIMIT = 20  # characters: what a virtio disk can tell


class DiskBus(StrEnum):
    """How the guest reaches it."""

    VIRTIO = "virtio"
    IDE = "ide"
    SATA = "sata"


class DiskDevice(StrEnum):
    """What the guest takes it for."""

    DISK = "disk"
    CDROM = "cdrom"


class DiskFormat(StrEnum):
    """How the file holds the disk's bytes."""

    RAW = "raw"
    QCOW2 = "qcow2"


class DiskCache(StrEnum):
    """What the host does with written data before the guest asks for it to be kept."""

    WRITEBACK = "writeback"  # in the host's page cache until the guest flushes
    WRITETHROUGH = "writethrough"  # kept before a write is answered
    NONE = "none"  # past the host's page cache
    DIRECTSYNC = "directsync"  # both
    UNSAFE = "unsafe"  # flushes are ignored: for disks that nobody needs afterwards


class Discard(StrEnum):
    """Whether space that the guest gives up goes back to the host."""

    UNMAP = "unmap"
    IGNORE = "ignore"


class DetectZeroes(StrEnum):
    """What becomes of written zeroes."""

    OFF = "off"
    ON = "on"  # written as zeroes by the cheapest means that keeps their space
    UNMAP = "unmap"  # their space goes back to the host


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskConfig:
    """One drive. `path` is None for a CD-ROM drive without a disc."""

    path: Path | None
    device: DiskDevice = DiskDevice.DISK
    bus: DiskBus = DiskBus.VIRTIO
    format: DiskFormat | None = None  # what a look at the file says
    size_gib: float | None = None  # of the file to be created, if there is none
    sparse: bool = True
    readonly: bool = False
    cache: DiskCache = DiskCache.WRITEBACK
    discard: Discard = Discard.UNMAP
    detect_zeroes: DetectZeroes = DetectZeroes.OFF
    serial: str = ""
    boot_order: int | None = None
    backing_store: Path | None = None
    backing_format: DiskFormat | None = None
    queues: int | None = None  # one a vCPU
    target: str = ""  # what it is called from outside, as in vda; made up in order if it is not given
    slot: int | None = None  # of PCI bus 0, for virtio disks; the first that is free
    check: bool = True  # of a CD-ROM drive's disc: that it has a file system of discs

    def __post_init__(self) -> None:
        require_slot(self.slot, f"disk {self.target or self.path}")
        if self.path is None and self.device is DiskDevice.DISK:
            raise ConfigError("a disk has no path; say which file holds it, as in path=disk.qcow2")
        if self.device is DiskDevice.CDROM and self.bus is DiskBus.VIRTIO:
            raise ConfigError("a CD-ROM drive is on bus virtio; it must be on ide or sata")
        if self.target and not re.fullmatch(r"[A-Za-z0-9_.-]{1,32}", self.target):
            raise ConfigError(f"disk target is {self.target!r}; it must be at most 32 letters and digits, as in vda")
        if len(self.serial.encode()) > SERIAL_LIMIT or not self.serial.isascii():
            raise ConfigError(f"disk serial is {self.serial!r}; it must be at most {SERIAL_LIMIT} ASCII characters")

    @classmethod
    def parse(cls, text: str, option: str = "--disk") -> "DiskConfig":
        """Reads the command line's form.

        >>> DiskConfig.parse("path=a.qcow2,size=10,bus=virtio,format=qcow2").size_gib
        10.0
        """
        pairs = KeyValues(option, text, first="path")
        device = pairs.choice("device", DiskDevice) or DiskDevice.DISK
        path, backing = pairs.text("path"), pairs.text("backing_store")
        config = cls(
            path=Path(path) if path else None,
            device=device,
            bus=pairs.choice("bus", DiskBus) or (DiskBus.IDE if device is DiskDevice.CDROM else DiskBus.VIRTIO),
            format=pairs.choice("format", DiskFormat),
            size_gib=pairs.number("size", 0, SIZE_GIB_LIMIT),
            sparse=pairs.flag("sparse") is not False,
            readonly=bool(pairs.flag("readonly", default=device is DiskDevice.CDROM)),
            cache=pairs.choice("cache", DiskCache) or DiskCache.WRITEBACK,
            discard=pairs.choice("discard", Discard) or Discard.UNMAP,
            detect_zeroes=pairs.choice("detect_zeroes", DetectZeroes) or DetectZeroes.OFF,
            serial=pairs.text("serial") or "",
            boot_order=pairs.whole("boot.order", 1, 99) or pairs.whole("boot_order", 1, 99),
            backing_store=Path(backing) if backing else None,
            backing_format=pairs.choice("backing_format", DiskFormat),
            target=pairs.text("target") or pairs.text("target.dev") or "",
            queues=pairs.whole("driver.queues", 1, QUEUES_LIMIT),
            check=pairs.flag("check") is not False,
        )
        pairs.finish()
        return config

    @classmethod
    def cdrom(cls, path: Path) -> "DiskConfig":
        """What `--cdrom ISO` means."""
        return cls(path=path, device=DiskDevice.CDROM, bus=DiskBus.IDE, readonly=True, format=DiskFormat.RAW)
