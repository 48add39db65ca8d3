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
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.console.raw import raw_terminal
from innkeeper.errors import ConfigError, HostError

if TYPE_CHECKING:
    from innkeeper.manager.service import Manager

ESCAPE = b"\x1d"  # ^]
CONTROL = 0x40  # what a control character lacks of its letter
CHUNK = 65536
DEVICES = ("serial0", "console0")
SILENT_S = 5.0  # after which a guest that does not even listen is suspected not to know of its serial port
ADVICE = (
    "the guest does not use its serial port so far: give its kernel console=ttyS0, and run "
    "systemctl enable --now serial-getty@ttyS0 in it"
)


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "devname", "serial0, the one that there is", required=False, metavar="DEVICE")
    parser.add_argument("--force", action="store_true", help="hang up on those who are connected to it")
    parser.add_argument("--resume", action="store_true", help="once connected, let a machine go on that stands still")
    parser.add_argument("--safe", action="store_true", help="only if nobody else can connect meanwhile: not to a pty")


def execute(arguments: argparse.Namespace) -> int:
    device = arguments.devname
    if device is not None and device not in DEVICES:
        raise ConfigError(f"console device is {device!r}; machines have one serial port, {DEVICES[0]}")
    manager, name = common.manager(arguments), common.name_of(arguments)

    def connected() -> None:
        if arguments.resume:
            manager.hardware.resume(name)

    return connect(manager, name, escape_of(arguments), connected, force=arguments.force, safe=arguments.safe)


def escape_of(arguments: argparse.Namespace) -> bytes:
    """What leaves the console: `inn virsh --escape` chooses."""
    return ESCAPE if arguments.session is None else bytes(arguments.session.escape)


def connect(
    manager: Manager,
    name: str,
    escape: bytes = ESCAPE,
    connected: Callable[[], None] = lambda: None,
    *,
    force: bool = False,
    safe: bool = False,
) -> int:
    """Does what is to be done once it is `connected`. Raises `HostError` if the machine does not run, or another terminal is connected."""
    with manager.domains.console(name, os.getpid(), force=force, safe=safe) as line:
        shown = f"^{chr(escape[0] ^ CONTROL)}" if escape[0] < ord(" ") else escape.decode()
        say(f"Connected to domain '{name}'\nEscape character is {shown}", file=sys.stderr)
        connected()
        with raw_terminal(sys.stdin.fileno()):
            converse(line.fileno(), lambda: advice(name, manager.domains.control(name, "console")), escape)
    print(file=sys.stderr)
    return Status.DONE


def advice(name: str, line: dict[str, Any]) -> str | None:
    """What a guest that says nothing needs, in one line."""
    if line["listens"]:
        return None
    return f"{ADVICE}; inn view {name} shows its screen" if line["screen"] else ADVICE


def converse(line: int, advise: Callable[[], str | None], escape: bytes = ESCAPE) -> None:
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
            before, found, _ = typed.partition(escape)
            send(line, before)
            if found:
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
