"""The software engine: an interpreter in the Rust core. It needs nothing of the host and lacks nothing."""

from innkeeper.engine import core
from innkeeper.engine.base import Capability, Vm
from innkeeper.memory import GuestMemory, Range


class InterpreterEngine:
    """Runs everything, exactly, at an interpreter's speed."""

    name = "interp"
    capabilities = frozenset(Capability) - {Capability.NATIVE_RING0}

    def create_memory(self, ranges: list[Range], /) -> GuestMemory:
        return core.create_memory(ranges)

    def create_vm(self, memory: GuestMemory, vcpus: int, /) -> Vm:
        return core.create_vm(self.name, memory, vcpus)
