"""How a guest starts: boot protocols, and the tables that a firmware would have left in memory."""

from innkeeper.firmware.base import BootPlan, Entry, KernelImage
from innkeeper.firmware.image import open_kernel
from innkeeper.firmware.memory_map import MapEntry, MapKind

__all__ = ["BootPlan", "Entry", "KernelImage", "MapEntry", "MapKind", "open_kernel"]
