"""The memory map that a guest is told about: which ranges are RAM, and which are not to be touched.

The types are those of the BIOS call INT 15h, AX=E820h (ACPI 6.5, 15.1), which PVH and multiboot share.
"""

from enum import IntEnum

from innkeeper.records import dataclass


class MapKind(IntEnum):
    """What a range of guest-physical memory is."""

    RAM = 1
    RESERVED = 2
    ACPI_RECLAIMABLE = 3
    ACPI_NVS = 4


@dataclass(frozen=True, slots=True)
class MapEntry:
    """`size` bytes from guest-physical address `gpa`."""

    gpa: int
    size: int
    kind: MapKind

    @property
    def end(self) -> int:
        return self.gpa + self.size
