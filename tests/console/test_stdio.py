"""The console on a terminal: raw while it runs, as before afterwards; and on pipes."""

import os
import termios
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from innkeeper.console.stdio import StdioConsole


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


class Terminal:
    """A pseudo-terminal: `master` is the user's side."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    os.close(terminal.master)
    os.close(terminal.slave)


class Machine:
    """What a machine would do with a console's input."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.left = threading.Event()

    def receive(self, data: bytes) -> None:
        self.received += data


def test_a_terminal_is_raw_while_the_console_runs_and_as_before_after(terminal: Terminal) -> None:
    before = termios.tcgetattr(terminal.slave)
    machine = Machine()
    console = StdioConsole(terminal.slave, terminal.slave)
    assert not terminal.is_raw()

    console.start(machine.receive, machine.left.set)
    assert terminal.is_raw()
    console.close()
    console.close()

    assert termios.tcgetattr(terminal.slave) == before


def test_a_terminal_that_hung_up_can_be_closed_too() -> None:
    master, slave = os.openpty()
    machine = Machine()
    console = StdioConsole(slave, slave)
    console.start(machine.receive, machine.left.set)

    os.close(master)
    console.write(b"to nobody")
    assert machine.left.wait(10)
    console.close()

    os.close(slave)


def test_every_key_reaches_the_guest_until_the_one_that_leaves(terminal: Terminal) -> None:
    machine = Machine()
    console = StdioConsole(terminal.slave, terminal.slave)
    console.start(machine.receive, machine.left.set)

    os.write(terminal.master, b"a\x03\x1a\x13\x04z\x1dlost")
    assert machine.left.wait(10)
    console.close()

    assert bytes(machine.received) == b"a\x03\x1a\x13\x04z"


def test_output_is_not_touched_on_its_way(terminal: Terminal) -> None:
    console = StdioConsole(terminal.slave, terminal.slave)
    console.start(Machine().receive, lambda: None)

    for byte in b"one\ntwo\r\n":
        console.write(bytes((byte,)))
    console.close()

    assert os.read(terminal.master, 100) == b"one\ntwo\r\n"


def test_piped_input_is_the_guests_to_the_last_byte() -> None:
    machine = Machine()
    read_end, write_end = os.pipe()
    source, sink = os.pipe()
    console = StdioConsole(source, write_end)
    console.start(machine.receive, machine.left.set)

    os.write(sink, b"echo \x1d\n")
    os.close(sink)
    until(lambda: bytes(machine.received) == b"echo \x1d\n")
    console.write(b"answer")
    console.close()

    assert os.read(read_end, 100) == b"answer"
    assert not machine.left.is_set()
    for descriptor in (read_end, write_end, source):
        os.close(descriptor)


def test_a_reader_that_is_gone_ends_the_run() -> None:
    machine = Machine()
    read_end, write_end = os.pipe()
    source, sink = os.pipe()
    console = StdioConsole(source, write_end)
    console.start(machine.receive, machine.left.set)

    os.close(read_end)
    console.write(b"x")

    assert machine.left.wait(10)
    console.close()
    for descriptor in (write_end, source, sink):
        os.close(descriptor)


def test_a_reader_that_does_not_read_slows_the_guest_but_cannot_hold_the_end() -> None:
    read_end, write_end = os.pipe()
    source, sink = os.pipe()
    console = StdioConsole(source, write_end)
    console.start(Machine().receive, lambda: None)
    finished = threading.Event()

    def chatter() -> None:
        for _ in range(64):
            console.write(bytes(8192))
        finished.set()

    guest = threading.Thread(target=chatter)
    guest.start()
    assert not finished.wait(0.1)
    started = time.monotonic()
    console.close()

    assert finished.wait(10)
    assert time.monotonic() - started < 8
    guest.join()
    os.close(read_end)  # the abandoned writer meets a broken pipe
    until(lambda: threading.active_count() == 1)
    for descriptor in (write_end, source, sink):
        os.close(descriptor)
