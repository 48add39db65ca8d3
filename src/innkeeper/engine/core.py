"""The face of `innkeeper._core` that all engines share: it turns the core's exits into ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from innkeeper.engine.exits import Exit, from_core
from innkeeper.errors import HostError
from innkeeper.memory import GuestMemory, Ram, Range

if TYPE_CHECKING:
    from innkeeper import _core


class CoreVcpu:
    """A vCPU of the Rust core."""

    def __init__(self, core: _core.Vcpu) -> None:
        self._core = core
        self.kick = core.kick
        self.get_state = core.get_state
        self.set_state = core.set_state
        self.set_stops = core.set_stops

    def run(self) -> Exit:
        return from_core(*self._core.run())


class CoreVm:
    """A virtual machine of the Rust core."""

    def __init__(self, core: _core.Vm, vcpus: int) -> None:
        self._core = core
        self._vcpus = [CoreVcpu(core.vcpu(index)) for index in range(vcpus)]
        self.map_ports = core.map_ports
        self.unmap_ports = core.unmap_ports
        self.map_mmio = core.map_mmio
        self.unmap_mmio = core.unmap_mmio
        self.unmap_ram = core.unmap_ram
        self.set_irq = core.set_irq
        self.fabric = core.fabric
        self.signal_msi = core.signal_msi
        self.reset_interrupts = core.reset_interrupts
        self.set_plugged = core.set_plugged
        self.statistics = core.statistics
        self.state = core.state
        self.restore = core.restore
        self.rewind = core.rewind
        self.trace = core.trace
        self.flight_record = core.flight_record

    def map_ram(
        self, gpa: int, ram: Ram, /, *, offset: int = 0, size: int | None = None, read_only: bool = False
    ) -> None:
        """`ram` comes from the memory that the machine was made with."""
        self._core.map_ram(gpa, cast("_core.Ram", ram), offset=offset, size=size, read_only=read_only)

    def vcpu(self, index: int, /) -> CoreVcpu:
        return self._vcpus[index]


def create_memory(ranges: list[Range]) -> GuestMemory:
    """Raises `HostError` if the host refuses the mapping."""
    from innkeeper import _core  # loads the extension: only a machine that runs needs it

    try:
        return _core.Memory(ranges)
    except MemoryError as error:
        mib = -(-sum(size for _, size in ranges) >> 20)
        raise HostError(f"the host refuses {mib} MiB of guest memory; give the machine less") from error


def create_vm(kind: str, memory: GuestMemory, vcpus: int, *, code_cache_mib: int = 64, trace: bool = False) -> CoreVm:
    """The settings are those of binary translation. Raises `HostError` if the host refuses."""
    from innkeeper import _core

    try:
        core = _core.Vm(kind, cast("_core.Memory", memory), vcpus, code_cache_mib=code_cache_mib, trace=trace)
        return CoreVm(core, vcpus)
    except OSError as error:
        raise HostError(f"engine {kind} cannot make a virtual machine here: {error}") from error
