"""How a guest starts: boot protocols, and the tables that a firmware would have left in memory."""

from typing import TYPE_CHECKING

from innkeeper.firmware.base import BootPlan, Entry, KernelImage
from innkeeper.firmware.memory_map import MapEntry, MapKind
from innkeeper.lazy import lazily

if TYPE_CHECKING:
    from innkeeper.firmware.image import open_kernel

__all__ = ["BootPlan", "Entry", "KernelImage", "MapEntry", "MapKind", "open_kernel"]

__getattr__ = lazily(__name__, {"open_kernel": "innkeeper.firmware.image"})
