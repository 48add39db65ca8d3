"""Scripts for vCPUs, and machines that run them."""

import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from innkeeper.config import ConsoleConfig, ConsoleKind, EngineChoice, MachineConfig
from innkeeper.console import MemoryConsole
from innkeeper.engine import Exit, bt_unavailable, kvm_probe
from innkeeper.machine import Machine
from innkeeper.testing import ScriptedEngine, ScriptedVm
from innkeeper.testing.engine import Step
from tests.firmware.conftest import bzimage

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


RunImage = Callable[..., tuple[Machine, MemoryConsole]]


@cache
def kvm_is_usable() -> str:
    """Empty if so, else why not."""
    probe = kvm_probe()
    return "" if probe["usable"] else str(probe["why"])


@pytest.fixture(params=[EngineChoice.BT, EngineChoice.INTERP, EngineChoice.KVM])
def engine(request: pytest.FixtureRequest) -> EngineChoice:
    choice: EngineChoice = request.param
    if choice is EngineChoice.KVM and kvm_is_usable():
        pytest.skip(f"KVM cannot be used here: {kvm_is_usable()}")
    if choice is EngineChoice.BT and (unavailable := bt_unavailable()) is not None:
        pytest.skip(f"binary translation cannot be used here: {unavailable}")
    return choice


@pytest.fixture
def run_image(engine: EngineChoice, tmp_path: Path) -> Iterator[RunImage]:
    """Starts machines of each engine, which end with the test."""
    machines = []

    def start(image: bytes, **changes: object) -> tuple[Machine, MemoryConsole]:
        kernel, console = tmp_path / "kernel", MemoryConsole()
        kernel.write_bytes(image)
        values: dict[str, object] = {
            "kernel": kernel,
            "memory_mib": 16,
            "engine": engine,
            "console": ConsoleConfig(kind=ConsoleKind.MEMORY),
            **changes,
        }
        machine = Machine(MachineConfig(**values), console=console)  # type: ignore[arg-type]
        machines.append(machine)
        machine.start()
        return machine, console

    yield start
    for machine in machines:
        machine.close()
