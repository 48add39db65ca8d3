"""The software engines of the Rust core: binary translation, and the interpreter that stands behind it."""

from innkeeper.engine import core
from innkeeper.engine.base import Capability, Vm
from innkeeper.errors import EngineUnavailable
from innkeeper.memory import GuestMemory, Range
from innkeeper.records import dataclass

WITHOUT_KVM = frozenset(Capability) - {Capability.NATIVE_RING0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """How to translate: the code cache is each vCPU's own; `trace` counts block by block, and costs speed."""

    code_cache_mib: int = 64
    trace: bool = False


class BtEngine:
    """Runs everything, exactly, as code translated for the host's processor.

    Raises `EngineUnavailable` where the host's processor lacks what translated code needs.
    """

    name = "bt"
    capabilities = WITHOUT_KVM

    def __init__(self, unavailable: str | None, translation: Translation | None = None) -> None:
        if unavailable is not None:
            raise EngineUnavailable(
                f"binary translation cannot be used on this host: {unavailable}; use --engine interp or auto"
            )
        self._translation = translation or Translation()

    def create_memory(self, ranges: list[Range], /) -> GuestMemory:
        return core.create_memory(ranges)

    def create_vm(self, memory: GuestMemory, vcpus: int, /) -> Vm:
        how = self._translation
        return core.create_vm(self.name, memory, vcpus, code_cache_mib=how.code_cache_mib, trace=how.trace)


class InterpreterEngine:
    """Runs everything, exactly, on any host, at an interpreter's speed."""

    name = "interp"
    capabilities = WITHOUT_KVM

    def create_memory(self, ranges: list[Range], /) -> GuestMemory:
        return core.create_memory(ranges)

    def create_vm(self, memory: GuestMemory, vcpus: int, /) -> Vm:
        return core.create_vm(self.name, memory, vcpus)
