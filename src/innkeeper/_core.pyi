"""The Rust core, as Python sees it: guest memory, virtual machines, vCPUs.

Everything here releases the GIL while it waits or runs a guest.
"""

from typing import Any, Protocol, TypedDict, final, type_check_only

__all__ = ["Memory", "Vcpu", "Vm", "host_features", "kvm_probe"]

@type_check_only
class Device(Protocol):
    """A guest-visible chip: sees offsets into its own region. `size` is 1, 2, 4 or 8 bytes."""

    def read(self, offset: int, size: int, /) -> int: ...
    def write(self, offset: int, size: int, value: int, /) -> None: ...

@final
class Memory:
    """Guest RAM as ranges of (guest-physical address, size), page-aligned, ascending, zeroed.

    Raises `ValueError` for bad ranges and `MemoryError` if the host refuses the mapping.
    """

    def __new__(cls, ranges: list[tuple[int, int]], /) -> Memory: ...
    @property
    def size(self) -> int: ...
    @property
    def ranges(self) -> list[tuple[int, int]]: ...
    def read(self, gpa: int, length: int, /) -> bytes:
        """Raises `ValueError` unless all of it is RAM."""
    def write(self, gpa: int, data: bytes, /) -> None:
        """Raises `ValueError` unless all of it is RAM."""
    def clear(self) -> None:
        """Zeroes all RAM."""

@type_check_only
class Segment(TypedDict):
    selector: int
    attributes: int
    limit: int
    base: int

@type_check_only
class Table(TypedDict):
    base: int
    limit: int

@type_check_only
class CpuState(TypedDict):
    """Version 1 of a vCPU's state; encodings as in `crates/innkeeper-core/src/state.rs`.

    `gpr`: rax rcx rdx rbx rsp rbp rsi rdi r8..r15. `segments`: es cs ss ds fs gs.
    `activity`: "runnable", "halted" or "wait-for-sipi".
    """

    gpr: list[int]
    rip: int
    rflags: int
    segments: list[Segment]
    ldtr: Segment
    tr: Segment
    gdtr: Table
    idtr: Table
    cr0: int
    cr2: int
    cr3: int
    cr4: int
    cr8: int
    xcr0: int
    efer: int
    dr: list[int]
    msrs: list[tuple[int, int]]
    xsave: bytes
    activity: str

@final
class Vcpu:
    """One virtual processor. `run` belongs to one thread at a time; `kick` to any."""

    def run(self) -> tuple[str, str]:
        """Runs until the machine must decide: (kind, detail).

        Kinds: "halt", "shutdown", "kicked", "debug", "internal-error". Raises what a Python device
        raised, after the access that met it.
        """
    def kick(self) -> None:
        """Makes `run` return "kicked" soon, or at once when next called."""
    def get_state(self) -> CpuState: ...
    def set_state(self, state: CpuState, /) -> None: ...

@final
class Vm:
    """A virtual machine under one engine: "interp" or "kvm".

    Raises `OSError` if the host's KVM refuses. The vCPUs start in their reset state (the first at
    F000:FFF0, the others waiting for a SIPI). APIC IDs are the indices. Interrupt controllers, PIT
    and local APICs are the engine's own and already mapped.
    """

    def __new__(cls, engine: str, memory: Memory, vcpus: int, /) -> Vm: ...
    def vcpu(self, index: int, /) -> Vcpu: ...
    def map_ports(self, base: int, size: int, device: Device, /) -> None:
        """Raises `ValueError` where it overlaps."""
    def unmap_ports(self, base: int, /) -> None: ...
    def map_mmio(self, base: int, size: int, device: Device, /) -> None: ...
    def unmap_mmio(self, base: int, /) -> None: ...
    def set_irq(self, gsi: int, level: bool, /) -> None: ...
    def signal_msi(self, address: int, data: int, /) -> None: ...
    @property
    def tsc_khz(self) -> int: ...
    def statistics(self) -> dict[str, Any]:
        """Counters so far. An engine lists what it can see: "kvm" has no "instructions".

        {"vcpus": [{"instructions": int, ..., "exceptions": {vector: n}, "ports": {"in 0x3fd": n}}]}
        """

def host_features() -> dict[str, bool]:
    """The instruction-set extensions of the host that the interpreter could present."""

def kvm_probe() -> dict[str, Any]:
    """What this host's /dev/kvm can really do, by running micro-guests.

    {"usable": bool, "why": str, "backend": str, "api_version": int, "ring0_native": bool,
    "ring0_mips": float, "syscall": bool, "paging_32bit": bool, "int3": bool, "cpuid_masking": bool,
    "tsc_offset": bool, "seconds": float}
    """
