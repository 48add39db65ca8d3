"""The ACPI tables that tell a guest what its board has."""

from innkeeper.firmware.acpi.dsdt import IsaDevice, PciRoot
from innkeeper.firmware.acpi.tables import AcpiBoard, build, waking_vector

__all__ = ["AcpiBoard", "IsaDevice", "PciRoot", "build", "waking_vector"]
