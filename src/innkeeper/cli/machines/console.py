"""`inn console`: a running machine's serial console, on this terminal. `^]` leaves it."""

import argparse
import os
import select
import socket
import sys

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.console import raw_terminal
from innkeeper.errors import HostError
from innkeeper.machine.names import running
from innkeeper.manager.host import console_of

ESCAPE = b"\x1d"  # ^]
CHUNK = 65536


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)


def execute(arguments: argparse.Namespace) -> int:
    return connect(common.running_name(arguments))


def connect(name: str) -> int:
    """Raises `HostError` if the machine does not run."""
    if name not in running():
        raise HostError(f"machine {name} does not run; inn start {name} starts it")
    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.connect(str(console_of(name)))
        except OSError as error:
            raise HostError(f"cannot reach the serial console of {name}: {error.strerror}") from error
        print(f"Connected to domain '{name}'\nEscape character is ^]", file=sys.stderr)
        with raw_terminal(sys.stdin.fileno()):
            converse(line)
    print(file=sys.stderr)
    return Status.DONE


def converse(line: socket.socket) -> None:
    """Until the machine hangs up, or somebody leaves."""
    watched = [line.fileno(), sys.stdin.fileno()]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if line.fileno() in ready:
            data = line.recv(CHUNK)
            if not data:
                return
            os.write(sys.stdout.fileno(), data)
        if sys.stdin.fileno() in ready:
            typed = os.read(sys.stdin.fileno(), CHUNK)
            before, escape, _ = typed.partition(ESCAPE)
            line.sendall(before)
            if escape:
                return
            if not typed:  # the end of a file: what the guest says goes on
                watched.remove(sys.stdin.fileno())
