"""A machine's life, with vCPUs that follow a script."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.firmware.conftest import bzimage

from innkeeper.config import ConsoleConfig, ConsoleKind, MachineConfig
from innkeeper.console import MemoryConsole
from innkeeper.engine import Debug, Exit, Halt, InternalError, Kicked, Shutdown
from innkeeper.errors import BootError, EngineError, HostError, InnkeeperError
from innkeeper.machine import Machine, OutcomeKind
from innkeeper.platforms.pc import ACPI_TABLES
from innkeeper.testing import ScriptedEngine, ScriptedVm
from innkeeper.testing.engine import Step

COM1, PM_CONTROL, RESET = 0x3F8, 0x604, 0xCF9
LIMIT_S = 10.0


def say(text: bytes) -> Step:
    def step(vm: ScriptedVm) -> None:
        for byte in text:
            vm.ports.write(COM1, 1, byte)

    return step


def power_off(vm: ScriptedVm) -> None:
    vm.ports.write(PM_CONTROL, 2, 0x3400)


def reset(vm: ScriptedVm) -> None:
    vm.ports.write(RESET, 1, 0x06)


def leave(vm: ScriptedVm) -> None:
    vm.ports.write(0xF4, 1, 0x10)


def give(exit_: Exit) -> Step:
    return lambda _vm: exit_


@pytest.fixture
def config(kernel: Path) -> Callable[..., MachineConfig]:
    def make(**changes: object) -> MachineConfig:
        values: dict[str, object] = {
            "kernel": kernel,
            "memory_mib": 16,
            "console": ConsoleConfig(kind=ConsoleKind.MEMORY),
            **changes,
        }
        return MachineConfig(**values)  # type: ignore[arg-type]

    return make


Make = Callable[..., MachineConfig]


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "vmlinuz"
    path.write_bytes(bzimage())
    return path


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def run(config: MachineConfig, *boards: list[list[Step]]) -> tuple[Machine, MemoryConsole, ScriptedEngine]:
    """Runs a machine to its end."""
    console, engine = MemoryConsole(), ScriptedEngine(*boards)
    machine = Machine(config, console=console, engine=engine)
    machine.start()
    machine.wait(LIMIT_S)
    machine.close()
    return machine, console, engine


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


def test_what_is_typed_reaches_the_guest(config: Make) -> None:
    def echo(vm: ScriptedVm) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not vm.ports.read(COM1 + 5, 1) & 1:
            assert time.monotonic() < deadline
        vm.ports.write(COM1, 1, vm.ports.read(COM1, 1))
        power_off(vm)

    console = MemoryConsole()
    with Machine(config(), console=console, engine=ScriptedEngine([[echo]])) as machine:
        machine.start()
        console.send(b"k")
        assert machine.wait(LIMIT_S).kind is OutcomeKind.POWERED_OFF

    assert console.output == b"k"


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


class DeafConsole:
    """A reader that does not read: `write` waits until the console is closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.waiting = threading.Event()

    def start(self, receive: object, leave: object) -> None: ...

    def write(self, data: bytes, /) -> None:  # noqa: ARG002
        self.waiting.set()
        self.closed.wait()

    def close(self) -> None:
        self.closed.set()


def test_a_reader_that_does_not_read_cannot_keep_a_machine(config: Make) -> None:
    console = DeafConsole()
    with Machine(config(), console=console, engine=ScriptedEngine([[say(b"x")]])) as machine:
        machine.start()
        assert console.waiting.wait(LIMIT_S)
        machine.stop()
        assert machine.wait(LIMIT_S).kind is OutcomeKind.STOPPED


def test_a_console_can_ask_to_leave(config: Make) -> None:
    class LeavingConsole(MemoryConsole):
        def start(self, receive: Callable[[bytes], None], leave: Callable[[], None]) -> None:
            super().start(receive, leave)
            leave()

    with Machine(config(), console=LeavingConsole(), engine=ScriptedEngine()) as machine:
        machine.start()
        assert machine.wait(LIMIT_S).kind is OutcomeKind.STOPPED


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


def test_typing_does_not_wait_for_a_reader(config: Make) -> None:
    """Even while the guest itself waits for the reader, with the transmitter's interrupt on."""
    console, typed = DeafConsole(), threading.Event()

    def listen(vm: ScriptedVm) -> None:
        vm.ports.write(COM1 + 1, 1, 0x02)
        vm.ports.write(COM1, 1, 0x20)

    def type_something() -> None:
        machine.write_console(b"x")
        typed.set()

    with Machine(config(), console=console, engine=ScriptedEngine([[listen]])) as machine:
        machine.start()
        assert console.waiting.wait(LIMIT_S)
        typist = threading.Thread(target=type_something)
        typist.start()
        assert typed.wait(LIMIT_S)
        machine.stop()
        assert machine.wait(LIMIT_S).kind is OutcomeKind.STOPPED
        typist.join()
