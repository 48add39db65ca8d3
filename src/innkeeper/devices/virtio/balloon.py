"""The host's side of a balloon: how much the guest shall give up, and what it says of its memory.

Spec: virtio 1.2, 5.5.6.3 (statistics).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from innkeeper import _core

STATISTICS = (
    "swap_in_bytes",
    "swap_out_bytes",
    "major_faults",
    "minor_faults",
    "free_bytes",
    "total_bytes",
    "available_bytes",
    "disk_cache_bytes",
    "huge_page_allocations",
    "huge_page_failures",
)


class Balloon:
    """From any thread, while the machine runs."""

    def __init__(self, core: _core.VirtioBalloon, memory_bytes: int) -> None:
        self._core = core
        self._memory_bytes = memory_bytes

    def set_memory(self, size: int) -> None:
        """How many bytes shall be left to the guest; its driver does so by and by."""
        self._core.set_wanted(max(self._memory_bytes - size, 0))

    def refresh(self) -> None:
        """Asks the guest for new statistics, which `report` has some time later."""
        self._core.refresh()

    def report(self) -> dict[str, Any]:
        """Bytes asked for, given (`actual_bytes`), given back to the host; what the guest last said of its memory."""
        report = self._core.report()
        named = {STATISTICS[tag]: value for tag, value in report["statistics"] if tag < len(STATISTICS)}
        return {**report, "statistics": named}
