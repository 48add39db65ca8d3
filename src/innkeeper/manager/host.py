"""One machine's process: it outlives whoever started it, and is found again by the machine's name."""

import logging
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from innkeeper.config import ConsoleConfig
from innkeeper.config.console import ConsoleKind
from innkeeper.errors import InnkeeperError
from innkeeper.folders import runtime_folder
from innkeeper.machine.machine import Machine
from innkeeper.machine.names import running
from innkeeper.manager.definition import Action
from innkeeper.manager.domain_xml import read_xml
from innkeeper.manager.host_files import console_of

Answer = Callable[[dict[str, Any]], None]


def run(order: dict[str, Any], answer: Answer) -> int:
    """Runs the machine of `order["xml"]` to its end; returns the process's exit status.

    Answers once, as soon as the guest runs or cannot: with `process`, or with `error`.
    """
    definition = read_xml(order["xml"])
    name = definition.name
    if name in running():
        answer({"error": f"machine {name} runs already"})
        return 1
    console = ConsoleConfig(kind=ConsoleKind.UNIX, path=console_of(name))
    config = replace(definition.machine, console=console, no_reboot=definition.on_reboot is Action.DESTROY)
    (runtime_folder() / name).mkdir(mode=0o700, exist_ok=True)
    console_of(name).unlink(missing_ok=True)  # of one that was killed
    machine = Machine(config)
    signal.signal(signal.SIGTERM, lambda *_: machine.stop())
    with machine:
        try:
            machine.start()
        except InnkeeperError as error:
            answer({"error": str(error), "kind": type(error).__name__})
            return 1
        logging.info("%s runs: %s", name, machine.engine_choice)
        answer({"process": os.getpid()})
        outcome = machine.wait()
    logging.info("%s has ended: %s", name, outcome.in_full())
    return 0 if outcome.error is None else 1
