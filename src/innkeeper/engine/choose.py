"""Which engine runs a guest: the one asked for, or the fastest that can run this guest on this host."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from innkeeper.config import EngineChoice
from innkeeper.engine.base import Capability, Engine
from innkeeper.engine.kvm import KvmEngine
from innkeeper.engine.soft import BtEngine, InterpreterEngine, Translation
from innkeeper.records import dataclass


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine, and one line that says why it was taken."""

    engine: Engine
    why: str


def kvm_probe() -> Mapping[str, Any]:
    """What this host's KVM can really do."""
    from innkeeper import _core  # loads the extension: only those who run or probe need it

    return _core.kvm_probe()


def bt_unavailable() -> str | None:
    """Why this host cannot do binary translation; None if it can."""
    from innkeeper import _core

    return _core.bt_unavailable()


@dataclass(frozen=True, slots=True)
class Host:
    """Whom to ask about this host. Nobody is asked without need: KVM's probe takes its time."""

    kvm_probe: Callable[[], Mapping[str, Any]] = kvm_probe
    bt_unavailable: Callable[[], str | None] = bt_unavailable


def choose(
    wanted: EngineChoice,
    needs: AbstractSet[Capability],
    translation: Translation | None = None,
    host: Host | None = None,
) -> Choice:
    """Raises `EngineUnavailable` if `wanted` cannot be had; `auto` always finds one."""
    host = host or Host()
    match wanted:
        case EngineChoice.INTERP:
            return Choice(InterpreterEngine(), "interp: as asked")
        case EngineChoice.KVM:
            return Choice(KvmEngine(host.kvm_probe()), "kvm: as asked")
        case EngineChoice.BT:
            return Choice(BtEngine(host.bt_unavailable(), translation), "bt: as asked")
        case EngineChoice.AUTO:
            return _fastest(needs, translation, host)


def _fastest(needs: AbstractSet[Capability], translation: Translation | None, host: Host) -> Choice:
    probe = host.kvm_probe()
    if not probe["usable"]:
        return _software(f"KVM cannot be used here ({probe['why']})", translation, host)
    kvm = KvmEngine(probe)
    # Where ring 0 is emulated one instruction at a time, software is many times faster.
    missing = sorted((needs | {Capability.NATIVE_RING0}) - kvm.capabilities, key=list(Capability).index)
    if not missing:
        return Choice(kvm, "kvm: this host runs all of this guest natively")
    lacks = ", ".join(capability.value for capability in missing)
    return _software(f"this host's KVM lacks {lacks}", translation, host)


def _software(why_not_kvm: str, translation: Translation | None, host: Host) -> Choice:
    unavailable = host.bt_unavailable()
    if unavailable is None:
        return Choice(BtEngine(None, translation), f"bt: {why_not_kvm}")
    return Choice(InterpreterEngine(), f"interp: {why_not_kvm}, nor can binary translation be used ({unavailable})")
