"""Which engine runs a guest, and why."""

from typing import Any

import pytest

from innkeeper.config import EngineChoice
from innkeeper.engine import Capability, choose
from innkeeper.errors import EngineUnavailable

ALL = frozenset(Capability)
NATIVE = {
    "usable": True,
    "why": "",
    "ring0_native": True,
    "syscall": True,
    "paging_32bit": True,
    "int3": True,
    "cpuid_masking": True,
}
ABSENT = {**NATIVE, "usable": False, "why": "there is no /dev/kvm"}


def never() -> dict[str, Any]:
    raise AssertionError("nobody needs to probe")


def test_the_interpreter_is_had_without_a_probe() -> None:
    choice = choose(EngineChoice.INTERP, ALL, never)

    assert choice.engine.name == "interp"
    assert choice.engine.capabilities == ALL - {Capability.NATIVE_RING0}


def test_binary_translation_says_plainly_that_it_is_not_there() -> None:
    with pytest.raises(EngineUnavailable, match="binary translation has not landed yet; use --engine interp or auto"):
        choose(EngineChoice.BT, ALL, never)


def test_auto_takes_kvm_where_all_of_it_is_native() -> None:
    choice = choose(EngineChoice.AUTO, ALL, lambda: NATIVE)

    assert (choice.engine.name, choice.why) == ("kvm", "kvm: this host runs all of this guest natively")
    assert choice.engine.capabilities == ALL


def test_auto_takes_the_interpreter_where_there_is_no_kvm() -> None:
    choice = choose(EngineChoice.AUTO, ALL, lambda: ABSENT)

    assert (choice.engine.name, choice.why) == ("interp", "interp: KVM cannot be used here (there is no /dev/kvm)")


@pytest.mark.parametrize("lost", ["ring0_native", "syscall", "paging_32bit", "int3"])
def test_auto_takes_the_interpreter_where_kvm_lacks_what_the_guest_needs(lost: str) -> None:
    choice = choose(EngineChoice.AUTO, ALL, lambda: {**NATIVE, lost: False})

    assert choice.engine.name == "interp"
    assert choice.why.startswith("interp: this host's KVM lacks ")
    assert "\n" not in choice.why


def test_what_the_guest_does_not_need_is_not_missed() -> None:
    needs = frozenset({Capability.SYSCALL})

    choice = choose(EngineChoice.AUTO, needs, lambda: {**NATIVE, "paging_32bit": False, "cpuid_masking": False})

    assert choice.engine.name == "kvm"
    assert choice.engine.capabilities == ALL - {Capability.LEGACY_PAGING, Capability.CPUID_MASKING}


def test_kvm_on_demand_is_had_wherever_it_is_usable() -> None:
    choice = choose(EngineChoice.KVM, ALL, lambda: {**NATIVE, "ring0_native": False})

    assert choice.engine.name == "kvm"


def test_kvm_on_demand_is_refused_where_it_is_not() -> None:
    with pytest.raises(EngineUnavailable, match="KVM cannot be used on this host: there is no /dev/kvm; use --engine"):
        choose(EngineChoice.KVM, ALL, lambda: ABSENT)
