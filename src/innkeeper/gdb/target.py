"""What the stub needs of a machine."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from innkeeper.records import dataclass

if TYPE_CHECKING:
    from innkeeper._core import CpuState


class WatchKind(Enum):
    """Which accesses a watch is for."""

    WRITE = "watch"
    READ = "rwatch"
    ACCESS = "awatch"


@dataclass(frozen=True, slots=True)
class Watching:
    """`length` bytes from a guest-virtual address."""

    address: int
    length: int
    kind: WatchKind


@dataclass(frozen=True, slots=True)
class Stopped:
    """Which vCPU stopped all of them, and for what: "breakpoint", "step", "read 0x…", "write 0x…", or "" if asked to."""

    vcpu: int
    why: str = ""


class Target(Protocol):
    """A machine, to a debugger. All but `interrupt`, `reset` and `kill` need it to stand still."""

    def vcpus(self) -> int: ...
    def state(self, vcpu: int, /) -> CpuState: ...
    def set_state(self, vcpu: int, state: CpuState, /) -> None: ...
    def read(self, vcpu: int | None, address: int, length: int, /) -> bytes:
        """As much as is mapped to RAM, from the start on: as the vCPU addresses it, or by guest-physical address."""
        ...

    def write(self, vcpu: int | None, address: int, data: bytes, /) -> bool:
        """False, and nothing is written, unless all of it is mapped to RAM."""
        ...

    def set_stops(self, breakpoints: frozenset[int], watches: frozenset[Watching], /) -> None: ...
    def resume(self, stepping: int | None, /) -> None:
        """Lets all vCPUs go on, or just this one for one instruction."""
        ...

    def interrupt(self) -> None:
        """Stops all vCPUs, and returns when they stand still. Nothing if they do already."""
        ...

    def stopped(self) -> Stopped | None:
        """What stopped the machine since `resume`; None while it runs."""
        ...

    def ended(self) -> bool: ...
    def watch(self, changed: Callable[[], None] | None, /) -> None:
        """`changed` is called, from any thread, whenever `stopped` or `ended` may answer differently."""
        ...

    def reset(self) -> None: ...
    def kill(self) -> None: ...
