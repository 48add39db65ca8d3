"""`inn top` on a terminal: it hands the terminal over, takes it back, and leaves it as it was."""

import os
import pty
import re
import select
import signal
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.view.outside import machine

pytest.importorskip("textual")
pytestmark = pytest.mark.slow

PATIENCE_S = 60


class Terminal:
    """An `inn top` that the test types at."""

    def __init__(self) -> None:
        self.process, self._main = pty.fork()
        if not self.process:
            os.environ["TERM"] = "xterm-256color"
            os.execv(sys.executable, [sys.executable, "-m", "innkeeper.cli", "top"])
        termios.tcsetwinsize(self._main, (24, 110))
        self._heard = b""

    def type(self, words: bytes) -> None:
        os.write(self._main, words)

    def hears(self, words: bytes) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := re.search(words, self._heard, re.DOTALL)):
            assert time.monotonic() < deadline, self._heard[-2000:]
            if select.select([self._main], [], [], 0.2)[0]:
                self._heard += os.read(self._main, 1 << 16)
        self._heard = self._heard[found.end() :]

    def ends(self) -> int:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if select.select([self._main], [], [], 0.1)[0]:
                try:
                    os.read(self._main, 1 << 16)
                except OSError:
                    break
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


@pytest.fixture
def terminal(user: Path) -> Iterator[Terminal]:  # noqa: ARG001 - the folders
    with machine() as one:
        one.says(b"login: ")
        terminal = Terminal()
        yield terminal
        if Path(f"/proc/{terminal.process}/exe").exists():
            os.kill(terminal.process, signal.SIGKILL)


def test_console_and_view_have_the_terminal_as_long_as_they_last(terminal: Terminal) -> None:
    terminal.hears(b"1 machines")
    terminal.type(b"c")
    terminal.hears(b"Connected to domain 'one'.*login: ")
    terminal.type(b"\x1d")
    terminal.hears(b"1 machines")
    terminal.type(b"v")
    terminal.hears(rb"http://127\.0\.0\.1:\d+/#key=.*ends it")
    terminal.type(b"\x03")
    terminal.hears(b"1 machines")
    terminal.type(b"q")
    assert terminal.ends() == 0
