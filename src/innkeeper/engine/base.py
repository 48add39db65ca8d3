"""The contract between a machine and whatever runs its instructions.

Engines differ by their capabilities, which the builder asks about; nobody asks which engine it is.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from innkeeper.engine.exits import Exit
from innkeeper.memory import GuestMemory, Ram, Range

if TYPE_CHECKING:
    from innkeeper._core import CpuState, Device, Fabric, TracedBlock


class Capability(Enum):
    """What an engine can run on this host. The value says it in words, for `inn doctor`."""

    NATIVE_RING0 = "kernel code at the processor's own speed"
    SYSCALL = "SYSCALL into the guest's kernel"
    LEGACY_PAGING = "paging outside long mode"
    BREAKPOINTS = "INT3 in the guest's kernel"
    DEBUGGER = "breakpoints and watches of a debugger"
    CPUID_MASKING = "CPU features just as they are given"
    SAVING = "machines saved to files, and restored"


class Vcpu(Protocol):
    """One virtual processor. `run` belongs to one thread at a time; `kick` to any."""

    def run(self) -> Exit:
        """Runs until the machine must decide. Raises what a device raised."""
        ...

    def kick(self) -> None:
        """Makes `run` return `Kicked` soon, or at once when next called."""
        ...

    def get_state(self) -> CpuState: ...
    def set_state(self, state: CpuState, /) -> None: ...
    def set_stops(self, breakpoints: list[int], watches: list[tuple[int, int, bool, bool]], step: bool, /) -> None:
        """What `run` stops for with `Debug`: instructions, watched data (address, length, reads, writes), each step."""
        ...


class Vm(Protocol):
    """Memory, vCPUs, buses and interrupt controllers. APIC IDs are the vCPUs' indices."""

    def vcpu(self, index: int, /) -> Vcpu: ...
    def map_ports(self, base: int, size: int, device: Device, /) -> None: ...
    def unmap_ports(self, base: int, /) -> None: ...
    def map_mmio(self, base: int, size: int, device: Device, /) -> None: ...
    def unmap_mmio(self, base: int, /) -> None: ...
    def map_ram(
        self, gpa: int, ram: Ram, /, *, offset: int = 0, size: int | None = None, read_only: bool = False
    ) -> None: ...
    def unmap_ram(self, gpa: int, /) -> None: ...
    def set_irq(self, gsi: int, level: bool, /) -> None: ...
    @property
    def fabric(self) -> Fabric: ...
    def signal_msi(self, address: int, data: int, /) -> None: ...
    def reset_interrupts(self) -> None:
        """Interrupt controllers, PIT and local APICs as after power-up; no vCPU runs, and time goes on."""
        ...

    def set_plugged(self, index: int, plugged: bool, /) -> None:
        """Whether a vCPU, which does not run, hears of interrupts, INIT and SIPI, as all do at first.

        Its local APIC is as after power-up; its registers stay.
        """
        ...

    def statistics(self) -> dict[str, Any]: ...

    def state(self) -> dict[str, Any]:
        """What is not memory, a device or a vCPU's state: clock, interrupt controllers, what vCPUs are in the middle of."""
        ...

    def restore(self, state: dict[str, Any], vcpus: list[CpuState], /) -> None:
        """Takes all of that on, when memory and devices are restored. Raises `ValueError` for what cannot be."""
        ...

    def rewind(self, clock: dict[str, Any], /) -> None:
        """Takes on the `clock` of an earlier state. All else stays as it is, what is on interrupt lines as well."""
        ...

    def trace(self) -> list[TracedBlock]:
        """What was executed, block by block, once no vCPU runs. Empty unless the engine traces."""
        ...

    def flight_record(self) -> list[list[int]]:
        """Where the last blocks of each vCPU began, oldest first. Empty unless the engine traces."""
        ...


class Engine(Protocol):
    """Makes memory that it can run guests from, and virtual machines."""

    @property
    def name(self) -> str: ...
    @property
    def capabilities(self) -> frozenset[Capability]: ...
    def create_memory(self, ranges: list[Range], /) -> GuestMemory: ...
    def create_vm(self, memory: GuestMemory, vcpus: int, /) -> Vm: ...
