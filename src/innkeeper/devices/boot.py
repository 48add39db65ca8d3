"""What a device offers firmware to boot from, in the words of fw_cfg's "bootorder": Open Firmware device paths."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol, runtime_checkable

from innkeeper.records import dataclass

PCI_ROOT = "/pci@i0cf8"
NETWORK_PATH = "ethernet@{unit}/ethernet-phy@0"


class BootKind(StrEnum):
    """What kind of medium it is; the words of `--boot`."""

    CDROM = "cdrom"
    HD = "hd"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class BootEntry:
    """One medium. `path` has `{unit}` where the function's place goes, as in `scsi@{unit}/disk@0,0`.

    `order` is the user's own number for it; those with a number come first. `given` is its place among the media that
    the user gave, whatever bus they are on: so those of a kind come one after the other.
    """

    kind: BootKind
    path: str
    order: int | None = None
    given: int = 0


@runtime_checkable
class Bootable(Protocol):
    """A device that firmware can boot from."""

    def boot_entries(self) -> tuple[BootEntry, ...]: ...


def boot_path(entry: BootEntry, slot: int, number: int = 0) -> str:
    """The whole path of a medium at a function.

    >>> boot_path(BootEntry(BootKind.HD, "ide@{unit}/drive@0/disk@0"), 1, 1)
    '/pci@i0cf8/ide@1,1/drive@0/disk@0'
    """
    unit = f"{slot:x},{number:x}" if number else f"{slot:x}"
    return f"{PCI_ROOT}/{entry.path.format(unit=unit)}"


def boot_order(found: Iterable[tuple[str, BootEntry]], kinds: tuple[str, ...]) -> list[str]:
    """Paths in the order in which they are tried; `found` has the path and what it is, in the order of slots."""
    listed = [(path, entry) for path, entry in found if entry.order is not None or entry.kind in kinds]
    numbered = sorted((item for item in listed if item[1].order is not None), key=lambda item: item[1].order or 0)
    others = [item for item in listed if item[1].order is None]
    others.sort(key=lambda item: (kinds.index(item[1].kind), item[1].given))
    return [path for path, _ in (*numbered, *others)]
