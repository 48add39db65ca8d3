"""Machines that stand still for a while."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.config import ConsoleConfig, MachineConfig, NetworkConfig
from innkeeper.config.console import ConsoleKind
from innkeeper.console import MemoryConsole
from innkeeper.errors import HostError
from innkeeper.machine import Machine, OutcomeKind
from innkeeper.testing import ScriptedEngine, ScriptedVm
from innkeeper.testing.guests import SPIN, flat_guest, say
from tests.engines import fastest_software

from .conftest import Make, power_off


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(flat_guest(SPIN))
    config = MachineConfig(
        kernel=kernel,
        memory_mib=16,
        vcpus=2,
        engine=fastest_software(),
        console=ConsoleConfig(kind=ConsoleKind.NONE),
        networks=(NetworkConfig(),),
    )
    with Machine(config) as machine:
        machine.start()
        yield machine


def spent(machine: Machine) -> int:
    return machine.live.figures()["vcpus"][0]["time_ns"]


def wait_until_it_spends(machine: Machine) -> None:
    before, deadline = spent(machine), time.monotonic() + 20
    while spent(machine) <= before:
        assert time.monotonic() < deadline, "the vCPU does not run"
        time.sleep(0.01)


def test_what_is_suspended_spends_nothing_until_it_goes_on(machine: Machine) -> None:
    wait_until_it_spends(machine)
    machine.suspend()

    figures = machine.live.figures()
    assert (figures["state"], figures["vcpus"][0]["state"], machine.happenings.state) == ("paused", "paused", "paused")
    before = spent(machine)
    time.sleep(0.1)
    assert spent(machine) == before

    machine.resume()
    assert machine.happenings.state == "running"
    wait_until_it_spends(machine)


def test_a_machine_can_stand_still_from_the_start(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(flat_guest(say(b"awake") + SPIN))
    console = MemoryConsole()
    with Machine(MachineConfig(kernel=kernel, memory_mib=4, engine=fastest_software()), console=console) as machine:
        machine.begins_suspended = True
        machine.start()
        assert machine.happenings.state == "paused"
        time.sleep(0.1)
        assert console.text == ""
        machine.resume()
        console.wait_for(b"awake", timeout_s=20)


def test_suspending_twice_and_resuming_what_runs_are_mistakes(machine: Machine) -> None:
    with pytest.raises(HostError, match="is not suspended"):
        machine.resume()
    machine.suspend()
    with pytest.raises(HostError, match="suspended, saved, asleep or ending already"):
        machine.suspend()
    machine.resume()
    machine.suspend()


def test_what_is_suspended_can_be_ended_and_changed(machine: Machine) -> None:
    machine.suspend()
    card = machine.live.attach_card(NetworkConfig())
    assert not machine.live.detach_card(card.mac, patience_s=0.01)
    machine.resume()
    wait_until_it_spends(machine)
    machine.suspend()
    machine.stop()
    assert machine.wait(20).kind is OutcomeKind.STOPPED
    with pytest.raises(HostError, match="does not run"):
        machine.suspend()


def test_a_reset_waits_until_it_goes_on(machine: Machine) -> None:
    machine.suspend()
    machine.reset()
    deadline = time.monotonic() + 20
    while machine.statistics()["resets"] == 0:
        assert time.monotonic() < deadline, "the machine is never reset"
        time.sleep(0.01)
    wait_until_it_spends(machine)


def test_a_reboot_is_a_power_off_after_which_the_machine_is_reset(config: Make) -> None:
    asked = threading.Event()

    def shut_down_when_asked(vm: ScriptedVm) -> None:
        assert asked.wait(20)
        pressed = vm.ports.read(0x600, 2)
        assert pressed >> 8 & 1, "nobody has pressed the power button"
        power_off(vm)

    engine = ScriptedEngine([[shut_down_when_asked]], [[power_off]])
    with Machine(config(), console=MemoryConsole(), engine=engine) as machine:
        machine.start()
        machine.live.reboot()
        asked.set()
        assert machine.wait(20).kind is OutcomeKind.POWERED_OFF  # the second time it is meant
        assert machine.statistics()["resets"] == 1
