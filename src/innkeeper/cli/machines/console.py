"""`inn console`: a running machine's serial console, on this terminal. `^]` leaves it."""

from __future__ import annotations

import argparse
import os
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.console.raw import raw_terminal
from innkeeper.errors import ConfigError, HostError

if TYPE_CHECKING:
    from innkeeper.manager.service import Manager

ESCAPE = b"\x1d"  # ^]
CHUNK = 65536
DEVICES = ("serial0", "console0")
SILENT_S = 5.0  # after which a guest that does not even listen is suspected not to know of its serial port
ADVICE = (
    "the guest does not use its serial port so far: give its kernel console=ttyS0, and run "
    "systemctl enable --now serial-getty@ttyS0 in it"
)


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("devname", nargs="?", metavar="DEVICE", help="serial0, the one that there is")
    parser.add_argument("--devname", dest="device", metavar="DEVICE", help=argparse.SUPPRESS)
    parser.add_argument("--force", action="store_true", help="hang up on those who are connected to it")
    parser.add_argument("--safe", action="store_true", help="only if nobody else can connect meanwhile: not to a pty")


def execute(arguments: argparse.Namespace) -> int:
    device = arguments.device or arguments.devname
    if device is not None and device not in DEVICES:
        raise ConfigError(f"console device is {device!r}; machines have one serial port, {DEVICES[0]}")
    manager, name = common.manager(arguments), common.name_of(arguments)
    return connect(manager, name, force=arguments.force, safe=arguments.safe)


def connect(manager: Manager, name: str, *, force: bool = False, safe: bool = False) -> int:
    """Raises `HostError` if the machine does not run, or another terminal is connected."""
    with manager.domains.console(name, os.getpid(), force=force, safe=safe) as line:
        say(f"Connected to domain '{name}'\nEscape character is ^]", file=sys.stderr)
        with raw_terminal(sys.stdin.fileno()):
            converse(line.fileno(), lambda: advice(name, manager.domains.control(name, "console")))
    print(file=sys.stderr)
    return Status.DONE


def advice(name: str, line: dict[str, Any]) -> str | None:
    """What a guest that says nothing needs, in one line."""
    if line["listens"]:
        return None
    return f"{ADVICE}; inn view {name} shows its screen" if line["screen"] else ADVICE


def converse(line: int, advise: Callable[[], str | None]) -> None:
    """Until the machine hangs up, or somebody leaves. Advises once if it stays silent."""
    watched = [line, sys.stdin.fileno()]
    silent_at: float | None = time.monotonic() + SILENT_S
    while True:
        patience = max(0.0, silent_at - time.monotonic()) if silent_at is not None else None
        ready, _, _ = select.select(watched, [], [], patience)
        if not ready or (silent_at is not None and time.monotonic() >= silent_at):
            silent_at = None
            with suppress(HostError):  # it has just ended, which the line says as well
                if words := advise():
                    say(f"note: {words}", end="\r\n", file=sys.stderr, flush=True)
        if line in ready:
            data = heard(line)
            if not data:
                return
            silent_at = time.monotonic() + SILENT_S if silent_at is not None else None
            os.write(sys.stdout.fileno(), data)
        if sys.stdin.fileno() in ready:
            typed = os.read(sys.stdin.fileno(), CHUNK)
            before, escape, _ = typed.partition(ESCAPE)
            send(line, before)
            if escape:
                return
            if not typed:  # the end of a file: what the guest says goes on
                watched.remove(sys.stdin.fileno())


def heard(line: int) -> bytes:
    """Nothing at the end; a pseudo-terminal's end is an error, and so is being hung up on."""
    try:
        return os.read(line, CHUNK)
    except OSError:
        return b""


def send(line: int, data: bytes) -> None:
    view = memoryview(data)
    with suppress(BrokenPipeError):  # hung up, which reading notices
        while view:
            view = view[os.write(line, view) :]
