"""Suspend to RAM, and what outlives a board."""

import time

import pytest

from innkeeper.console import MemoryConsole
from innkeeper.machine import Machine, OutcomeKind
from innkeeper.platforms.pc import ACPI_TABLES
from innkeeper.testing import ScriptedEngine, ScriptedVm

from .conftest import COM1, LIMIT_S, PM_CONTROL, Make, power_off, reset, run, say


def set_waking_vector(vm: ScriptedVm) -> None:
    vm.memory.write(ACPI_TABLES[0] + 64 + 12, (0x9A123).to_bytes(4, "little"))


def go_to_sleep(vm: ScriptedVm) -> None:
    vm.ports.write(PM_CONTROL, 2, 0x2400)


def test_a_guest_sleeps_until_the_power_button_with_its_memory(config: Make) -> None:
    def remember(vm: ScriptedVm) -> None:
        vm.memory.write(0x5000, b"kept")

    def look(vm: ScriptedVm) -> None:
        say(vm.memory.read(0x5000, 4))(vm)
        assert vm.ports.read(0x600, 2) == 1 << 15 | 1 << 8  # woken, by the power button

    engine = ScriptedEngine(
        [[remember, set_waking_vector, say(b"zz "), go_to_sleep, look, power_off]],
    )
    console = MemoryConsole()
    with Machine(config(), console=console, engine=engine) as machine:
        machine.start()
        console.wait_for(b"zz ", timeout_s=LIMIT_S)
        machine.press_power_button()
        assert machine.wait(LIMIT_S).kind is OutcomeKind.POWERED_OFF

    assert console.output == b"zz kept"
    assert len(engine.vms) == 1
    assert engine.vms[0].interrupt_resets == 1
    state = engine.vms[0].vcpu(0).get_state()
    assert (state["segments"][1]["base"], state["rip"]) == (0x9A120, 3)
    assert (machine.statistics()["sleeps"], machine.statistics()["resets"]) == (1, 0)


def test_a_guest_that_wants_to_wake_nowhere_starts_over(config: Make) -> None:
    engine = ScriptedEngine([[say(b"zz "), go_to_sleep]], [[power_off]])
    console = MemoryConsole()
    with Machine(config(), console=console, engine=engine) as machine:
        machine.start()
        console.wait_for(b"zz ", timeout_s=LIMIT_S)
        machine.press_power_button()
        assert machine.wait(LIMIT_S).kind is OutcomeKind.POWERED_OFF

    assert engine.vms[1].vcpu(0).get_state()["rip"] == 0x20_0200


@pytest.mark.parametrize("late", [0.0, 0.1])
def test_a_sleeping_machine_can_be_stopped(config: Make, late: float) -> None:
    with Machine(config(), console=MemoryConsole(), engine=ScriptedEngine([[go_to_sleep]])) as machine:
        machine.start()
        time.sleep(late)
        machine.stop()
        assert machine.wait(LIMIT_S).kind is OutcomeKind.STOPPED


def test_the_time_limit_counts_in_sleep(config: Make) -> None:
    machine, _, _ = run(config(timeout_s=0.1), [[go_to_sleep]])

    assert machine.wait().kind is OutcomeKind.TIMEOUT


def test_the_clocks_ram_outlives_a_reset(config: Make) -> None:
    def write(vm: ScriptedVm) -> None:
        vm.ports.write(0x70, 2, 0x5A << 8 | 0x40)

    def read(vm: ScriptedVm) -> None:
        vm.ports.write(0x70, 1, 0x40)
        vm.ports.write(COM1, 1, vm.ports.read(0x71, 1))

    _, console, _ = run(config(), [[write, reset]], [[read, power_off]])

    assert console.output == b"Z"
