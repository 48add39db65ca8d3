"""How a guest starts: boot protocols, and the tables that a firmware would have left in memory."""

from typing import TYPE_CHECKING

from innkeeper.firmware.base import BootPlan, Entry, HandedKernel, KernelImage
from innkeeper.firmware.memory_map import MapEntry, MapKind
from innkeeper.lazy import lazily

if TYPE_CHECKING:
    from innkeeper.firmware.image import open_bzimage, open_kernel

__all__ = ["BootPlan", "Entry", "HandedKernel", "KernelImage", "MapEntry", "MapKind", "open_bzimage", "open_kernel"]

__getattr__ = lazily(__name__, dict.fromkeys(("open_bzimage", "open_kernel"), "innkeeper.firmware.image"))
