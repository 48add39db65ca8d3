"""`inn destroy`: ends the machine at once, as a power cut does."""

import argparse
import time

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.errors import HostError
from innkeeper.machine.control import ask
from innkeeper.machine.names import control_of, running

PATIENCE_S = 20.0
LOOK_S = 0.02


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)


def execute(arguments: argparse.Namespace) -> int:
    end(common.running_name(arguments))
    return Status.DONE


def end(name: str) -> None:
    """Returns when nothing of the machine is left. Raises `HostError` if it does not end."""
    complaint = None
    try:
        ask(control_of(name), "stop")
    except HostError as error:
        complaint = error  # it may have ended before it could answer, which is what was asked for
    deadline = time.monotonic() + PATIENCE_S
    while name in running():
        if time.monotonic() > deadline:
            raise complaint or HostError(f"machine {name} still runs after {PATIENCE_S:g} s; its log says what it does")
        time.sleep(LOOK_S)
    print(f"Domain '{name}' destroyed\n")
