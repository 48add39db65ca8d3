"""Sessions at a machine's serial console, as its users have them: `inn console` in a terminal."""

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.boot.inn import Line

from .home import ANSWER_S, LOGIN_S, Home

PASTING = re.compile(r"\x1b\[\?2004[hl]")  # by which bash tells a terminal whether it wants to know what is pasted

NUMBERS = itertools.count(1)
REPLAY_S = 2.0


@contextmanager
def console(home: Home, name: str) -> Iterator[tuple[Line, "subprocess.Popen[bytes]"]]:
    """Ends with the session, whatever the machine does."""
    master, slave = os.openpty()
    command = [sys.executable, "-m", "innkeeper.cli", "console", name]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=home.environment) as process:
        os.close(slave)
        try:
            yield Line(master), process
        finally:
            process.kill()
            os.close(master)


def log_in(line: Line, host: str, password: str) -> None:
    """As root, where somebody is asked who he is, or will be."""
    line.wait_for(f"{host} login: ", limit_s=LOGIN_S)
    line.type("root\r")
    line.wait_for("Password: ", limit_s=ANSWER_S)
    line.type(f"{password}\r")
    line.wait_for(r":~# ", limit_s=ANSWER_S)


def come_back(line: Line) -> None:
    """To a console at which somebody was before: what was said then comes again, and is no answer."""
    line.skip(REPLAY_S)
    line.type("\r")


def log_out(line: Line, host: str) -> None:
    """Whoever comes next is asked who he is."""
    line.type("exit\r")
    line.wait_for(f"{host} login: ", limit_s=ANSWER_S)


def ask(line: Line, question: str) -> str:
    """What a shell answers."""
    end = f"nd-{next(NUMBERS)}"
    line.type(f"{question}; echo e''{end}\r")
    line.wait_for(f"e''{end}\r\n", limit_s=ANSWER_S)
    return PASTING.sub("", line.wait_for(f"e{end}\r\n", limit_s=LOGIN_S)).removesuffix(f"e{end}\n")
