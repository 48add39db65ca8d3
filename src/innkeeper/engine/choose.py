"""Which engine runs a guest: the one asked for, or the fastest that can run this guest on this host."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from innkeeper.config import EngineChoice
from innkeeper.engine.base import Capability, Engine
from innkeeper.engine.kvm import KvmEngine
from innkeeper.engine.soft import InterpreterEngine
from innkeeper.errors import EngineUnavailable

Probe = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine, and one line that says why it was taken."""

    engine: Engine
    why: str


def kvm_probe() -> Mapping[str, Any]:
    """What this host's KVM can really do."""
    from innkeeper import _core  # loads the extension: only those who run or probe need it

    return _core.kvm_probe()


def choose(wanted: EngineChoice, needs: AbstractSet[Capability], probe: Probe = kvm_probe) -> Choice:
    """Raises `EngineUnavailable` if `wanted` cannot be had; `auto` always finds one."""
    match wanted:
        case EngineChoice.INTERP:
            return Choice(InterpreterEngine(), "interp: as asked")
        case EngineChoice.KVM:
            return Choice(KvmEngine(probe()), "kvm: as asked")
        case EngineChoice.BT:
            raise EngineUnavailable("binary translation has not landed yet; use --engine interp or auto")
        case EngineChoice.AUTO:
            return _fastest(needs, probe())


def _fastest(needs: AbstractSet[Capability], probe: Mapping[str, Any]) -> Choice:
    if not probe["usable"]:
        return Choice(InterpreterEngine(), f"interp: KVM cannot be used here ({probe['why']})")
    kvm = KvmEngine(probe)
    # Where ring 0 is emulated one instruction at a time, the interpreter is many times faster.
    missing = sorted((needs | {Capability.NATIVE_RING0}) - kvm.capabilities, key=list(Capability).index)
    if not missing:
        return Choice(kvm, "kvm: this host runs all of this guest natively")
    lacks = ", ".join(capability.value for capability in missing)
    return Choice(InterpreterEngine(), f"interp: this host's KVM lacks {lacks}")
