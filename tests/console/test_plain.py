"""Consoles without a peer: file, none, memory; and the one place that makes them all."""

import logging
from pathlib import Path

import pytest

from innkeeper.config import ConsoleConfig, ConsoleKind
from innkeeper.console import MemoryConsole, open_console
from innkeeper.console.output import Output
from innkeeper.console.plain import FileConsole
from innkeeper.errors import HostError


def test_a_file_holds_this_run_only(tmp_path: Path) -> None:
    path = tmp_path / "serial.log"
    path.write_text("an older and longer run")
    console = FileConsole(path)
    for byte in b"booted\r\n":
        console.write(bytes((byte,)))
    console.close()
    console.close()

    assert path.read_bytes() == b"booted\r\n"


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=f"cannot write the console to {tmp_path}: Is a directory"):
        FileConsole(tmp_path)


def test_a_full_disk_is_told_once_and_does_not_stop_the_guest(caplog: pytest.LogCaptureFixture) -> None:
    console = FileConsole(Path("/dev/full"))
    with caplog.at_level(logging.WARNING):
        for _ in range(40):
            console.write(bytes(4096))
        console.close()

    assert [record.getMessage() for record in caplog.records] == [
        "console output is lost from here on: No space left on device"
    ]


@pytest.mark.parametrize("kind", ConsoleKind)
def test_every_kind_can_be_opened(kind: ConsoleKind, tmp_path: Path) -> None:
    path = tmp_path / "c" if kind in (ConsoleKind.FILE, ConsoleKind.UNIX) else None

    console = open_console(ConsoleConfig(kind=kind, path=path))

    console.write(b"nobody is harmed")
    console.close()


def test_waiting_passes_each_word_once() -> None:
    console = MemoryConsole()
    console.write(b"login: root\r\n# login: ")

    assert console.wait_for(b"login: ", timeout_s=1) == b"login: "
    assert console.wait_for(b"login: ", timeout_s=1) == b"root\r\n# login: "
    with pytest.raises(TimeoutError, match="no b'login: ' within 0 s"):
        console.wait_for(b"login: ", timeout_s=0)


def test_a_machine_that_ends_ends_the_wait() -> None:
    console = MemoryConsole()
    console.write(b"panic")
    console.close()

    with pytest.raises(TimeoutError, match="last came b'panic'"):
        console.wait_for(b"login", timeout_s=60)


def test_what_is_typed_early_waits_in_the_line() -> None:
    received = bytearray()
    console = MemoryConsole()
    console.send(b"early ")
    console.start(received.extend, lambda: None)
    console.send(b"late")

    assert bytes(received) == b"early late"


def test_output_keeps_its_order_in_few_pieces() -> None:
    pieces: list[bytes] = []
    output = Output(pieces.append)
    for value in range(200):
        output.write(bytes((value,)))
    output.close()

    assert b"".join(pieces) == bytes(range(200))
    assert len(pieces) < 100
