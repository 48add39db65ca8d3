"""Scripts for vCPUs, and machines that run them."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from innkeeper.config import ConsoleConfig, ConsoleKind, MachineConfig
from innkeeper.console import MemoryConsole
from innkeeper.engine import Exit
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
