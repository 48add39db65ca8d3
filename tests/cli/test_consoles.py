"""The serial consoles and displays of machines that run, as virsh's verbs reach them."""

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.view.outside import machine

from innkeeper.cli import main
from innkeeper.config import ConsoleConfig, GraphicsConfig, MachineConfig
from innkeeper.config.console import ConsoleKind
from innkeeper.devices.uart import IER
from innkeeper.machine.serial import with_console

SECRET = GraphicsConfig(password="secret")


@pytest.fixture(autouse=True)
def folders(user: Path) -> Path:
    return user


def inn(*words: str, stdin: int = subprocess.PIPE) -> "subprocess.Popen[bytes]":
    command, pipe = [sys.executable, "-m", "innkeeper.cli", *words], subprocess.PIPE
    return subprocess.Popen(command, stdin=stdin, stdout=pipe, stderr=pipe)


def leave(console: "subprocess.Popen[bytes]") -> tuple[str, str]:
    out, err = console.communicate(b"\x1d", timeout=30)
    assert console.returncode == 0, err
    return out.decode(), err.decode()


def hears(console: "subprocess.Popen[bytes]", words: bytes) -> None:
    assert console.stdout is not None
    heard = b""
    while words not in heard:
        data = os.read(console.stdout.fileno(), 4096)
        assert data, heard
        heard += data


def test_a_console_shows_what_was_said_before(capsys: pytest.CaptureFixture[str]) -> None:
    with machine(ConsoleKind.UNIX) as one:
        one.says(b"welcome\r\n")
        console = inn("console", "one")
        hears(console, b"welcome\r\n")
        one.says(b"login: ")
        hears(console, b"login: ")
        assert main(["console", "one"]) == 2
        assert f"process {console.pid} is connected to the console already; --force" in capsys.readouterr().err
        taker = inn("virsh", "console", "--force", "one", "serial0")
        hears(taker, b"login: ")
        assert console.wait(30) == 0, "hung up on"
        _, complaint = leave(taker)
        assert complaint == "Connected to domain 'one'\nEscape character is ^]\n\n"
        for pipe in (console.stdin, console.stdout, console.stderr):
            assert pipe is not None
            pipe.close()


@pytest.mark.slow
@pytest.mark.parametrize("listens", [False, True])
def test_a_guest_that_does_not_know_of_its_serial_port_gets_advice(listens: bool) -> None:
    with machine(ConsoleKind.UNIX, SECRET) as one:
        one.uart.write(IER, 1, listens)
        console = inn("console", "one")
        assert console.stderr is not None
        complaint = b""
        while b"^]" not in complaint or (not listens and b"shows its screen" not in complaint):
            complaint += os.read(console.stderr.fileno(), 4096)
        if listens:
            time.sleep(6.5)  # longer than anybody waits for a silent guest
        _, rest = leave(console)
    said = complaint.decode() + rest
    advice = "note: the guest does not use its serial port so far: give its kernel console=ttyS0"
    assert (advice in said) != listens
    assert ("inn view one shows its screen\r\n" in said) != listens


def test_a_pseudo_terminal_is_connected_to_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    with machine(ConsoleKind.PTY) as one:
        assert main(["ttyconsole", "one"]) == 0
        path = capsys.readouterr().out.strip()
        assert path.startswith("/dev/pts/")
        assert main(["console", "--safe", "one"]) == 2
        assert f"{path}, which others can open meanwhile" in capsys.readouterr().err
        console = inn("console", "one")
        assert console.stderr is not None
        assert console.stderr.readline() == b"Connected to domain 'one'\n"
        time.sleep(0.5)  # a pseudo-terminal's end does not say when it is open
        one.says(b"hello\r\n")
        hears(console, b"hello")
        leave(console)


def test_the_terminal_comes_back_as_it_was() -> None:
    main_end, terminal = pty.openpty()
    with machine(ConsoleKind.UNIX) as one:
        one.says(b"welcome\r\n")
        console = inn("console", "one", stdin=terminal)
        hears(console, b"welcome")
        os.write(main_end, b"\x1d")
        assert console.wait(30) == 0
        console.communicate()
    os.close(main_end)
    os.close(terminal)


@pytest.mark.parametrize("verb", ["console", "ttyconsole"])
def test_a_console_that_nobody_can_open_is_said_to_be_one(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with machine(ConsoleKind.NONE):
        assert main([verb, "one"]) == 2
    assert "none of its inn run" in capsys.readouterr().err


def test_other_devices_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    with machine(ConsoleKind.UNIX):
        assert main(["console", "one", "parallel0"]) == 2
        assert "console device is 'parallel0'; machines have one serial port, serial0" in capsys.readouterr().err


def test_displays_have_addresses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = GraphicsConfig(socket=tmp_path / "screen")
    with machine(ConsoleKind.NONE, SECRET, other):
        assert main(["domdisplay", "one"]) == 0
        assert capsys.readouterr().out.startswith("vnc://127.0.0.1:")
        assert main(["virsh", "domdisplay", "one", "--type", "vnc", "--include-password", "--all"]) == 0
        first, second, _, _ = capsys.readouterr().out.split("\n")
        assert first.startswith("vnc://:secret@127.0.0.1:")
        assert second == f"vnc+unix://{tmp_path}/screen"
        assert main(["domdisplay", "one", "--type", "spice"]) == 2
        assert "display type is 'spice'" in capsys.readouterr().err


def test_a_machine_without_displays_has_no_address(capsys: pytest.CaptureFixture[str]) -> None:
    with machine(ConsoleKind.NONE):
        assert main(["domdisplay", "one"]) == 2
    assert "machine one has no graphics of type vnc; inn view one shows its screen" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "graphics", "told"),
    [
        ("", (), "console=ttyS0"),
        ("quiet", (SECRET,), "quiet console=tty0 console=ttyS0"),
        ("console=hvc0", (), "console=hvc0"),
        ("netconsole=a", (), "netconsole=a console=ttyS0"),
    ],
)
def test_linux_is_told_of_its_console(said: str, graphics: tuple[GraphicsConfig, ...], told: str) -> None:
    config = MachineConfig(kernel=Path("vmlinuz"), append=said, graphics=graphics)
    assert with_console(config, is_linux=True) == told
    assert with_console(config, is_linux=False) == said


def test_linux_is_not_told_of_a_console_that_nobody_hears() -> None:
    config = MachineConfig(kernel=Path("vmlinuz"), console=ConsoleConfig(kind=ConsoleKind.NONE))
    assert with_console(config, is_linux=True) == ""
