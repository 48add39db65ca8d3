"""A machine's life, with vCPUs that follow a script."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from innkeeper.console import MemoryConsole
from innkeeper.engine import Debug, Halt, InternalError, Kicked, Shutdown
from innkeeper.errors import BootError, EngineError, HostError, InnkeeperError
from innkeeper.machine import Machine, OutcomeKind
from innkeeper.testing import ScriptedEngine, ScriptedVm
from innkeeper.testing.engine import Step

from .conftest import LIMIT_S, Make, give, leave, power_off, reset, run, say

if TYPE_CHECKING:
    from innkeeper._core import TracedBlock

BLOCK: "TracedBlock" = {
    "vcpu": 0,
    "rip": 0,
    "gpa": 0,
    "mode": "64-bit CPL0",
    "guest": b"",
    "host": b"",
    "host_address": 0,
    "executions": 1,
    "exits": {},
}


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (power_off, OutcomeKind.POWERED_OFF),
        (reset, OutcomeKind.RESET),
        (give(Halt()), OutcomeKind.HALTED),
        (give(Shutdown()), OutcomeKind.TRIPLE_FAULT),
        (give(InternalError("no such thing")), OutcomeKind.FAILED),
        (give(Debug()), OutcomeKind.FAILED),
        (leave, OutcomeKind.EXITED),
    ],
)
def test_a_run_ends_as_the_guest_ends_it(config: Make, step: Step, kind: OutcomeKind) -> None:
    machine, console, _ = run(config(no_reboot=True, debug_exit=True), [[say(b"hello"), step]])

    assert machine.wait().kind is kind
    assert console.output == b"hello"
    assert not machine.running


def test_an_exit_status_reaches_the_outcome(config: Make) -> None:
    machine, _, _ = run(config(debug_exit=True), [[leave]])

    assert machine.wait().status == 0x21
    assert str(machine.wait()) == "the test guest ended with a status: 33"


def test_an_engines_failure_is_told_in_its_own_words(config: Make) -> None:
    machine, _, _ = run(config(), [[give(InternalError("opcode 0F 0B is new to us"))]])

    assert isinstance(machine.wait().error, EngineError)
    assert str(machine.wait()) == "the machine itself failed: opcode 0F 0B is new to us"


def test_what_a_device_raises_ends_the_machine_with_it(config: Make) -> None:
    def raise_it(_vm: ScriptedVm) -> None:
        raise ZeroDivisionError("in a device")

    machine, _, _ = run(config(), [[raise_it]])

    assert isinstance(machine.wait().error, ZeroDivisionError)


@pytest.mark.parametrize("again", [reset, give(Shutdown())])
def test_a_reset_builds_the_board_anew(config: Make, again: Step) -> None:
    def scribble(vm: ScriptedVm) -> None:
        vm.memory.write(0x5000, b"left over")

    def look(vm: ScriptedVm) -> None:
        say(b"dirty" if vm.memory.read(0x5000, 9) != bytes(9) else b"clean")(vm)

    machine, console, engine = run(config(), [[say(b"one "), scribble, again]], [[look, power_off]])

    assert machine.wait().kind is OutcomeKind.POWERED_OFF
    assert console.output == b"one clean"
    assert len(engine.vms) == 2
    assert [vm.ports.regions() for vm in engine.vms] == [[], []]
    assert machine.statistics()["resets"] == 1


def test_a_request_of_an_old_board_does_not_reach_the_new_one(config: Make) -> None:
    boards: list[list[list[Step]]] = [[[reset, power_off, power_off]], [[say(b"still here"), reset]], [[power_off]]]

    machine, console, engine = run(config(), *boards)

    assert (machine.wait().kind, console.output, len(engine.vms)) == (OutcomeKind.POWERED_OFF, b"still here", 3)


@pytest.mark.parametrize("request_", [power_off, reset, leave])
def test_the_guest_does_nothing_more_once_it_has_asked(config: Make, request_: Step) -> None:
    _, console, _ = run(config(debug_exit=True, no_reboot=True), [[say(b"last"), request_, say(b" words")]])

    assert console.output == b"last"


def test_the_first_vcpu_starts_at_the_kernel(config: Make) -> None:
    _, _, engine = run(config(vcpus=2), [[power_off], []])

    assert engine.vms[0].vcpu(0).get_state()["rip"] == 0x20_0200
    assert engine.vms[0].vcpu(1).get_state()["rip"] == 0xFFF0


def test_all_vcpus_run_and_are_called_back(config: Make) -> None:
    _, console, engine = run(config(vcpus=3), [[], [say(b"b")], [say(b"c"), power_off]])

    assert set(console.output) <= set(b"bc")
    assert b"c" in console.output
    assert all(engine.vms[0].vcpu(index).runs >= 1 for index in range(3))


def test_a_kick_alone_changes_nothing(config: Make) -> None:
    machine, console, _ = run(config(), [[give(Kicked()), say(b"on"), power_off]])

    assert (machine.wait().kind, console.output) == (OutcomeKind.POWERED_OFF, b"on")


def test_the_time_limit_ends_a_guest_that_does_not(config: Make) -> None:
    machine, _, _ = run(config(timeout_s=0.05), [[]])

    assert machine.wait().kind is OutcomeKind.TIMEOUT


def test_the_time_limit_counts_over_resets(config: Make) -> None:
    machine, _, _ = run(config(timeout_s=0.2), [[reset]])

    assert machine.wait().kind is OutcomeKind.TIMEOUT
    assert machine.statistics()["resets"] > 0


def test_a_machine_can_be_stopped_from_outside(config: Make) -> None:
    machine = Machine(config(), console=MemoryConsole(), engine=ScriptedEngine())
    machine.start()
    assert machine.running
    with pytest.raises(TimeoutError, match=r"still runs after 0\.01 s"):
        machine.wait(0.01)

    machine.stop()

    assert machine.wait(LIMIT_S).kind is OutcomeKind.STOPPED
    machine.close()


def test_a_with_block_leaves_nothing_behind(config: Make) -> None:
    with Machine(config(), console=MemoryConsole(), engine=ScriptedEngine()) as machine:
        machine.start()

    assert machine.wait().kind is OutcomeKind.STOPPED


def test_the_power_button_reaches_the_guest(config: Make) -> None:
    def wait_for_it(vm: ScriptedVm) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not vm.ports.read(0x600, 2) & 1 << 8:
            assert time.monotonic() < deadline
        power_off(vm)

    with Machine(config(), console=MemoryConsole(), engine=ScriptedEngine([[wait_for_it]])) as machine:
        machine.start()
        machine.press_power_button()
        assert machine.wait(LIMIT_S).kind is OutcomeKind.POWERED_OFF


def test_a_console_that_fails_at_the_end_leaves_nobody_waiting(config: Make) -> None:
    class CutConsole(MemoryConsole):
        def close(self) -> None:
            super().close()
            raise OSError("the line is cut")

    with Machine(config(), console=CutConsole(), engine=ScriptedEngine([[power_off]])) as machine:
        machine.start()
        outcome = machine.wait(LIMIT_S)

    assert outcome.kind is OutcomeKind.FAILED
    assert str(outcome.error) == "the line is cut"


def test_statistics_are_written_when_the_run_ends(config: Make, tmp_path: Path) -> None:
    path = tmp_path / "stats.json"
    boot = [say(b"booting\r\n[ 1.0] Run /init as init process\r\n"), reset]

    machine, _, _ = run(config(stats=path), [boot], [[power_off]])

    written = json.loads(path.read_text())
    assert written == json.loads(json.dumps(machine.statistics()))
    assert (written["outcome"], written["engine"], written["resets"]) == ("powered_off", "scripted", 1)
    assert written["instructions"] == 2
    phases = ["built", "started", "first_output", "userspace", "ended"]
    assert sorted(written["seconds"], key=written["seconds"].get) == phases


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"kernel": Path("/nowhere/vmlinuz")}, BootError, "cannot read kernel /nowhere/vmlinuz"),
        ({"initrd": Path("/nowhere/initrd")}, BootError, "cannot read initrd /nowhere/initrd"),
        ({"stats": Path("/nowhere/stats.json")}, HostError, "cannot write statistics to /nowhere/stats.json"),
        ({"memory_mib": 2}, BootError, "needs memory up to"),
    ],
)
def test_a_start_that_fails_says_why_and_leaves_nothing(
    config: Make, changes: dict[str, object], error: type[InnkeeperError], words: str
) -> None:
    engine = ScriptedEngine()
    machine = Machine(config(**changes), console=MemoryConsole(), engine=engine)

    with machine, pytest.raises(error, match=words):
        machine.start()

    assert all(vm.ports.regions() == [] for vm in engine.vms)


def test_a_kernel_that_vanishes_before_a_reset_ends_the_machine(config: Make, tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"here")

    def vanish(_vm: ScriptedVm) -> None:
        initrd.unlink()

    machine, _, _ = run(config(initrd=initrd), [[vanish, reset]])

    assert isinstance(machine.wait().error, BootError)


def test_a_machine_runs_once(config: Make) -> None:
    machine, _, _ = run(config(), [[power_off]])

    with pytest.raises(RuntimeError, match="runs once"):
        machine.start()


def test_a_machine_that_was_not_started_cannot_be_waited_for(config: Make) -> None:
    machine = Machine(config())

    assert machine.engine_choice == "not started"
    assert not machine.running
    machine.write_console(b"nobody hears")
    machine.press_power_button()
    machine.close()
    with pytest.raises(RuntimeError, match="not started"):
        machine.wait()


def fly(vm: ScriptedVm) -> None:
    vm.flights = [[0x1000, 0x2000], []]


def test_a_triple_fault_comes_with_the_blocks_before_it(config: Make) -> None:
    machine, _, _ = run(config(no_reboot=True), [[fly, give(Shutdown())]])

    outcome = machine.wait()
    assert outcome.flight_record == ((0x1000, 0x2000), ())
    assert outcome.in_full().splitlines() == [
        "the guest's processor shut down by a triple fault",
        "last blocks of vCPU 0, oldest first:",
        "  0000000000001000 0000000000002000",
    ]


def test_other_ends_come_without(config: Make) -> None:
    machine, _, _ = run(config(), [[fly, power_off]])

    assert machine.wait().flight_record == ()


def test_a_triple_fault_that_resets_says_what_led_to_it(config: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        run(config(), [[fly, give(Shutdown())]], [[power_off]])

    assert "oldest first:\n  0000000000001000 0000000000002000" in caplog.text


def test_the_trace_is_that_of_the_last_board(config: Make) -> None:
    def traced(rip: int) -> Step:
        def step(vm: ScriptedVm) -> None:
            vm.blocks = [{**BLOCK, "rip": rip}]

        return step

    machine, _, _ = run(config(), [[traced(0x1000), reset]], [[traced(0x2000), power_off]])

    assert [block["rip"] for block in machine.trace()] == [0x2000]
