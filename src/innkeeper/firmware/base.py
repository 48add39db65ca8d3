"""What every boot protocol is given and gives back, and where it may put its structures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from innkeeper.errors import BootError
from innkeeper.firmware.memory_map import MapEntry, MapKind
from innkeeper.memory import GuestMemory
from innkeeper.records import dataclass

if TYPE_CHECKING:
    from innkeeper._core import CpuState

PAGE = 4096
MIB = 1 << 20
HIGH_MEMORY = MIB  # below it lie the legacy holes
FOUR_GIB = 1 << 32
COPY_CHUNK = MIB

LOW_LAYOUT = {
    # The upper end of conventional memory: kernels move in at 1 MiB, tiny guests near the bottom.
    "page tables": (0x9_0000, 6 * PAGE),
    "gdt": (0x9_6000, 0x100),
    "tss": (0x9_6100, 0x68),
    "boot info": (0x9_7000, PAGE),
    "command line": (0x9_8000, PAGE),
    "memory map": (0x9_9000, PAGE),
    "modules": (0x9_A000, PAGE),
}
"""Where a boot protocol's structures go: guest-physical address and size."""

Entry = Callable[["CpuState"], "CpuState"]
"""Turns the reset state of the first vCPU into the state at the kernel's entry point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootPlan:
    """What a kernel is to be started with. `initrd_path` is for messages and module names."""

    command_line: str = ""
    initrd: bytes | None = None
    initrd_path: Path | None = None
    memory_map: tuple[MapEntry, ...] = ()
    rsdp: int = 0
    extended_bios_data: int = 0x9_FC00
    text_screen: bool = False  # a VGA shows 80 × 25 characters

    @property
    def low_memory_end(self) -> int:
        """Where the RAM that begins at 1 MiB ends."""
        ends = [entry.end for entry in self.memory_map if entry.kind is MapKind.RAM and entry.gpa == HIGH_MEMORY]
        return ends[0] if ends else HIGH_MEMORY


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedKernel:
    """A kernel that firmware starts, as fw_cfg has it: a Linux kernel's setup sectors, and the rest."""

    setup: bytes
    rest: bytes
    initrd: bytes = b""
    command_line: bytes = b""


class KernelImage(Protocol):
    """A kernel file whose format is known and whose header makes sense."""

    @property
    def protocol(self) -> str: ...

    @property
    def is_linux(self) -> bool:
        """Whether it takes Linux's words on its command line."""
        ...

    def load(self, memory: GuestMemory, plan: BootPlan) -> Entry:
        """Puts kernel, initrd and boot structures into RAM. Raises `BootError` if they do not fit."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """Guest-physical bytes from `start` up to `end`."""

    start: int
    end: int

    def overlaps(self, other: Span) -> bool:
        return self.start < other.end and other.start < self.end


def write(memory: GuestMemory, gpa: int, data: bytes, start: int = 0, end: int | None = None) -> None:
    """Copies `data[start:end]` into RAM piece by piece, so that a large file is not held twice."""
    view = memoryview(data)[start:end]
    for at in range(0, len(view), COPY_CHUNK):
        memory.write(gpa + at, bytes(view[at : at + COPY_CHUNK]))


def align_up(value: int, alignment: int) -> int:
    """The next multiple of `alignment`.

    >>> hex(align_up(0x1001, 0x1000))
    '0x2000'
    """
    return -(-value // alignment) * alignment


def place_initrd(plan: BootPlan, kernel: Span, highest: int = FOUR_GIB) -> int:
    """Where the initrd goes: as high as it may, so that a kernel that grows does not meet it."""
    size = len(plan.initrd or b"")
    top = min(plan.low_memory_end, highest)
    start = (top - size) // PAGE * PAGE
    if start < HIGH_MEMORY or Span(start, start + size).overlaps(kernel):
        between = top - kernel.end if kernel.end > HIGH_MEMORY else top - HIGH_MEMORY
        raise BootError(
            f"initrd {plan.initrd_path} takes {mib(size)} of memory; beside the kernel there is room for "
            f"{mib(max(between, 0))}; give the machine more memory"
        )
    return start


def require_room(kernel: Path, span: Span, plan: BootPlan) -> None:
    """Raises `BootError` unless the kernel's memory exists."""
    if span.end > plan.low_memory_end:
        raise BootError(
            f"kernel {kernel} needs memory up to {mib(span.end)}; the machine's ends at {mib(plan.low_memory_end)}"
        )


def mib(size: int) -> str:
    """A size for people, rounded up.

    >>> mib(1), mib(5 << 20)
    ('1 MiB', '5 MiB')
    """
    return f"{-(-size // MIB)} MiB"
