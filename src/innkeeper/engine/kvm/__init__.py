"""The KVM engine: the host's hardware assist, as far as a probe finds that this host has it.

That `/dev/kvm` opens says little: some hosts emulate ring 0 in software, and some of those lack
whole modes. So the capabilities come from micro-guests that the core runs.
"""

from collections.abc import Mapping
from typing import Any

from innkeeper.engine import core
from innkeeper.engine.base import Capability, Vm
from innkeeper.errors import EngineUnavailable
from innkeeper.memory import GuestMemory, Range

PROBED = {
    "ring0_native": Capability.NATIVE_RING0,
    "syscall": Capability.SYSCALL,
    "paging_32bit": Capability.LEGACY_PAGING,
    "int3": Capability.BREAKPOINTS,
    "cpuid_masking": Capability.CPUID_MASKING,
}
"""The probe's answers (see `_core.kvm_probe`), and what each one means."""


class KvmEngine:
    """Runs guests on the host's KVM. Raises `EngineUnavailable` where there is none to use."""

    name = "kvm"

    def __init__(self, probe: Mapping[str, Any]) -> None:
        if not probe["usable"]:
            raise EngineUnavailable(f"KVM cannot be used on this host: {probe['why']}; use --engine bt or auto")
        self.capabilities = frozenset(capability for answer, capability in PROBED.items() if probe[answer])

    def create_memory(self, ranges: list[Range], /) -> GuestMemory:
        return core.create_memory(ranges)

    def create_vm(self, memory: GuestMemory, vcpus: int, /) -> Vm:
        return core.create_vm(self.name, memory, vcpus)
