"""Which engine runs a guest, and why."""

from typing import Any

import pytest

from innkeeper.config import EngineChoice
from innkeeper.engine import Capability, Host, choose
from innkeeper.errors import EngineUnavailable

ALL = frozenset(Capability) - {Capability.DEBUGGER, Capability.SAVING}  # of a kernel that nobody debugs
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
OLD = "the host's processor has no AVX"


def never() -> Any:
    raise AssertionError("nobody needs to ask")


def host(probe: dict[str, Any] | None = None, *, bt_unavailable: str | None = None) -> Host:
    """One whose KVM answers so; without a probe nobody may ask for it."""
    return Host(never if probe is None else lambda: probe, lambda: bt_unavailable)


NEVER = Host(never, never)


def test_the_interpreter_is_had_without_asking_the_host() -> None:
    choice = choose(EngineChoice.INTERP, ALL, host=NEVER)

    assert (choice.engine.name, choice.why) == ("interp", "interp: as asked")
    assert choice.engine.capabilities == frozenset(Capability) - {Capability.NATIVE_RING0}


def test_binary_translation_is_had_without_a_probe_of_kvm() -> None:
    choice = choose(EngineChoice.BT, ALL, host=host())

    assert (choice.engine.name, choice.why) == ("bt", "bt: as asked")
    assert choice.engine.capabilities == frozenset(Capability) - {Capability.NATIVE_RING0}


def test_binary_translation_on_demand_is_refused_where_the_processor_cannot() -> None:
    sentence = f"binary translation cannot be used on this host: {OLD}; use --engine interp or auto"
    with pytest.raises(EngineUnavailable, match=sentence):
        choose(EngineChoice.BT, ALL, host=host(bt_unavailable=OLD))


def test_auto_takes_kvm_where_all_of_it_is_native() -> None:
    choice = choose(EngineChoice.AUTO, ALL, host=Host(lambda: NATIVE, never))

    assert (choice.engine.name, choice.why) == ("kvm", "kvm: this host runs all of this guest natively")
    assert choice.engine.capabilities == ALL


def test_auto_translates_where_there_is_no_kvm() -> None:
    choice = choose(EngineChoice.AUTO, ALL, host=host(ABSENT))

    assert (choice.engine.name, choice.why) == ("bt", "bt: KVM cannot be used here (there is no /dev/kvm)")


@pytest.mark.parametrize("lost", ["ring0_native", "syscall", "paging_32bit", "int3"])
def test_auto_translates_where_kvm_lacks_what_the_guest_needs(lost: str) -> None:
    choice = choose(EngineChoice.AUTO, ALL, host=host({**NATIVE, lost: False}))

    assert choice.engine.name == "bt"
    assert choice.why.startswith("bt: this host's KVM lacks ")
    assert "\n" not in choice.why


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        (ABSENT, "KVM cannot be used here (there is no /dev/kvm)"),
        ({**NATIVE, "syscall": False}, "this host's KVM lacks SYSCALL into the guest's kernel"),
    ],
)
def test_auto_interprets_where_neither_can_be_used_and_says_both_reasons(probe: dict[str, Any], reason: str) -> None:
    choice = choose(EngineChoice.AUTO, ALL, host=host(probe, bt_unavailable=OLD))

    assert choice.engine.name == "interp"
    assert choice.why == f"interp: {reason}, nor can binary translation be used ({OLD})"


def test_what_the_guest_does_not_need_is_not_missed() -> None:
    needs = frozenset({Capability.SYSCALL})

    choice = choose(EngineChoice.AUTO, needs, host=host({**NATIVE, "paging_32bit": False, "cpuid_masking": False}))

    assert choice.engine.name == "kvm"
    assert choice.engine.capabilities == ALL - {Capability.LEGACY_PAGING, Capability.CPUID_MASKING}


def test_kvm_on_demand_is_had_wherever_it_is_usable() -> None:
    choice = choose(EngineChoice.KVM, ALL, host=host({**NATIVE, "ring0_native": False}))

    assert choice.engine.name == "kvm"


def test_kvm_on_demand_is_refused_where_it_is_not() -> None:
    with pytest.raises(EngineUnavailable, match="KVM cannot be used on this host: there is no /dev/kvm; use --engine"):
        choose(EngineChoice.KVM, ALL, host=host(ABSENT))


def test_kvm_is_passed_over_for_a_debugger() -> None:
    choice = choose(EngineChoice.AUTO, ALL | {Capability.DEBUGGER}, host=host(NATIVE))

    assert choice.why == "bt: this host's KVM lacks breakpoints and watches of a debugger"
