"""The ACPI tables that tell a guest what its board has."""

from innkeeper.firmware.acpi.dsdt import IsaDevice, PciRoot, PciSlots
from innkeeper.firmware.acpi.linker import linker_files
from innkeeper.firmware.acpi.processors import Processors
from innkeeper.firmware.acpi.tables import AcpiBoard, build, unlinked, waking_vector

__all__ = [
    "AcpiBoard",
    "IsaDevice",
    "PciRoot",
    "PciSlots",
    "Processors",
    "build",
    "linker_files",
    "unlinked",
    "waking_vector",
]
