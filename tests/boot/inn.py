"""`inn run` as its users start it: from a script, at a terminal; and the line to whatever is at the other end."""

import os
import re
import select
import signal
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from innkeeper.config import EngineChoice
from innkeeper.console import MemoryConsole
from innkeeper.machine import Machine, Outcome
from tests.engines import fastest_software

COMMAND = [sys.executable, "-m", "innkeeper.cli", "run"]
APPEND = "console=ttyS0 cryptomgr.notests"  # the ciphers' self-tests, most of a boot, are left to the tour
LIMIT_S = 300.0  # for a whole boot; it takes seconds, but a busy host has other work
ANSWER_S = 60.0
END_S = 30.0
# Makes the terminal on descriptor 0 the one that controls this process, as a login does.
AS_A_LOGIN = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass(frozen=True, slots=True)
class Done:
    """A run that is over. `said` is what the guest sent, with plain line ends, `complaint` what we said of it."""

    status: int
    said: str
    complaint: str

    @property
    def lines(self) -> list[str]:
        return self.said.splitlines()

    @property
    def error(self) -> str:
        """The one sentence of a run that could not be."""
        sentences = [line for line in self.complaint.splitlines() if not line.startswith("engine ")]
        assert len(sentences) == 1, self.complaint
        assert "Traceback" not in self.complaint
        return sentences[0]


def guest(
    kernel: Path,
    initrd: Path | None = None,
    *,
    append: str = APPEND,
    memory: int = 512,
    engine: EngineChoice | None = None,
) -> list[str]:
    """The options that name a guest, and the engine that runs it: the fastest of ours if it does not matter."""
    given = [] if initrd is None else ["--initrd", str(initrd)]
    how = ["--append", append, "--memory", str(memory), "--engine", engine or fastest_software()]
    return ["--kernel", str(kernel), *given, *how]


def inn_run(*options: str, limit_s: float = LIMIT_S) -> Done:
    """A run to its end, with nobody at the console."""
    command = [*COMMAND, "--timeout", str(limit_s), *options]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=limit_s + END_S)
    said = done.stdout.decode(errors="replace").replace("\r\n", "\n").replace("\r", "")
    return Done(done.returncode, said, done.stderr.decode())


def ended(machine: Machine, console: MemoryConsole, limit_s: float = END_S) -> Outcome:
    """How a run ended. One that has not by then says what it was doing: nobody can ask it later."""
    try:
        return machine.wait(limit_s)
    except TimeoutError as error:
        error.add_note(f"last came:\n{console.text[-4000:]}\nstatistics: {machine.statistics()}")
        raise


class Line:
    """A serial line: the guest at the other end of a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.said = bytearray()
        self._passed = 0

    def wait_for(self, words: str, *, limit_s: float = ANSWER_S) -> str:
        """All that came up to the end of the pattern `words`, since the last that was waited for."""
        pattern = re.compile(words.encode())
        deadline = time.monotonic() + limit_s
        while (found := pattern.search(self.said, self._passed)) is None:
            assert self._receive(deadline), f"no {words!r} within {limit_s:g} s; last came {bytes(self.said[-600:])!r}"
        start, self._passed = self._passed, found.end()
        return self.said[start : self._passed].decode(errors="replace").replace("\r\n", "\n")

    def skip(self, limit_s: float) -> None:
        """Passes over what comes within that time."""
        deadline = time.monotonic() + limit_s
        while self._receive(deadline):
            pass
        self._passed = len(self.said)

    def type(self, text: str) -> None:
        data = memoryview(text.encode())
        while data:
            data = data[os.write(self.descriptor, data) :]

    def ask(self, command: str, *, limit_s: float = ANSWER_S) -> str:
        """Types a command at the guest's shell; returns its answer."""
        self.type(command + "\r")
        self.wait_for(re.escape(command.rpartition("\r")[2]) + "\r\n", limit_s=limit_s)
        return self.wait_for("/root # ", limit_s=limit_s).removesuffix("/root # ")

    def _receive(self, deadline: float) -> bool:
        """Takes what has come; False once the time is up or the line is dead."""
        if not select.select([self.descriptor], [], [], max(deadline - time.monotonic(), 0.0))[0]:
            return False
        try:
            data = os.read(self.descriptor, 65536)
        except OSError:  # a pseudo-terminal whose other end was closed
            return False
        self.said += data
        return bool(data)


class Running:
    """An `inn run` that goes on. Leaving a `with` block kills it."""

    def __init__(self, process: subprocess.Popen[bytes], line: Line) -> None:
        self.process = process
        self.line = line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def status(self, *, limit_s: float = END_S) -> int:
        """Its exit status, once it has ended; negative for a signal."""
        return self.process.wait(timeout=limit_s)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def has_left_nothing(self) -> bool:
        """Whether no process of its session is there any more."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False


def inn_piped(*options: str) -> Running:
    """A run whose console is a pipe in each direction."""
    process = subprocess.Popen(
        [*COMMAND, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    return Running(process, Line(process.stdout.fileno()))


class Terminal(Running):
    """A run at a terminal of its own, which controls it as a login's terminal does."""

    def __init__(self, *options: str) -> None:
        self._master, self._slave = os.openpty()
        self.modes_before = self.modes()
        command = [sys.executable, "-c", AS_A_LOGIN, *COMMAND, *options]
        process = subprocess.Popen(
            command, stdin=self._slave, stdout=self._slave, stderr=self._slave, start_new_session=True
        )
        super().__init__(process, Line(self._master))

    def modes(self) -> list[object]:
        return list(termios.tcgetattr(self._slave))

    def hang_up(self) -> None:
        """What closing a terminal's window does."""
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, traceback)
        if self._master >= 0:
            self.hang_up()
