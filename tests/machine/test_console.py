"""The console of a running machine."""

import threading
import time
from collections.abc import Callable

from innkeeper.console import MemoryConsole
from innkeeper.machine import Machine, OutcomeKind
from innkeeper.testing import ScriptedEngine, ScriptedVm

from .conftest import COM1, LIMIT_S, Make, power_off, say


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
