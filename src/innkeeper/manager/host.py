"""One machine's process: it outlives whoever started it, and is found again by the machine's name."""

import gc
import logging
import os
import signal
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from innkeeper.config import ConsoleConfig, MachineConfig
from innkeeper.config.console import ConsoleKind
from innkeeper.errors import HostError, InnkeeperError
from innkeeper.folders import runtime_folder
from innkeeper.machine import Outcome, OutcomeKind
from innkeeper.machine.machine import Machine
from innkeeper.machine.names import Registration, running
from innkeeper.manager.definition import Action, Definition
from innkeeper.manager.domain_xml import read_xml
from innkeeper.manager.host_files import console_of
from innkeeper.manager.installation.journal import clear
from innkeeper.manager.live_document import as_now
from innkeeper.manager.networks.resolve import resolve

Answer = Callable[[dict[str, Any]], None]
INSTALLED = (OutcomeKind.POWERED_OFF, OutcomeKind.RESET)
"""How an installer ends that has done its work. What only was started in another way restarts the machine."""


def run(order: dict[str, Any], answer: Answer) -> int:
    """Runs the machine of `order["xml"]` to its end, and if it was installed that of `order["then"]`; returns an exit status.

    Answers once, as soon as the guest runs or cannot: with `process`, or with `error`. `order["scratch"]` is the folder of files that only
    the first start needs, `order["journal"]` a file and the name that it gets before it is answered that the guest runs. With `order["restore"]` it goes on where it was saved to that file, which is then removed if
    `order["consume"]` is true; for `vouched`, `relocated` and `bypass_cache` see `Machine`. With `order["paused"]` it stands still from the start.
    From one start to the next the machine keeps its name: it runs, and nobody else starts it meanwhile.
    """
    caller, name = Caller(answer, order.get("journal")), read_xml(order["xml"]).name
    try:
        if name in running(taken=False):
            raise HostError(f"machine {name} runs already")
        with closing(Registration(name)) as registration:
            outcome = run_all(order, caller, registration)
    except InnkeeperError as error:  # the name is free again
        caller.told_that_it_fails(error)
        return 1
    return 0 if outcome.error is None else 1


class Caller:
    """Who waits for the guest to run. Once that was told, nobody waits any more, and failures are for the log."""

    def __init__(self, answer: Answer, journal: tuple[str, str] | None) -> None:
        self._answer: Answer | None = answer
        self._journal = journal

    def told_that_it_runs(self) -> None:
        """Whoever is killed before that is heard, what the journal is called says it. A guest whose journal is gone does not run."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        if self._journal is None:
            answer({"process": os.getpid()})
            return
        before, after = self._journal
        Path(before).rename(after)
        try:
            answer({"process": os.getpid()})
        except OSError:  # nobody hears it any more, and so the machine ends
            Path(after).rename(before)
            raise

    def told_that_it_fails(self, error: InnkeeperError) -> None:
        if self._answer is None:
            logging.error("it cannot be started again: %s", error)
        else:
            self._answer({"error": str(error), "kind": type(error).__name__})


def run_all(order: dict[str, Any], caller: Caller, registration: Registration) -> Outcome:
    """Start after start; gives how the last ended. Raises `InnkeeperError` if one cannot be."""
    then, scratch = order.get("then"), order.get("scratch")
    ends = INSTALLED if order.get("installs", True) else (OutcomeKind.RESET,)

    def first_is_over() -> None:
        nonlocal scratch
        if scratch is not None:
            clear(Path(scratch))
            scratch = None  # what may be there later is another installation's

    outcome, again = run_once(order, caller.told_that_it_runs, registration, ends if then is not None else ())
    try:
        if again:
            logging.info("%s starts from what was installed", registration.name)
            outcome, _ = run_once({"xml": then, "goes_on": True}, first_is_over, registration)
    finally:
        first_is_over()
    return outcome


def run_once(
    order: dict[str, Any], begun: Callable[[], None], registration: Registration, ends: Collection[OutcomeKind] = ()
) -> tuple[Outcome, bool]:
    """How it ended, and whether in one of the ways after which something else is started. Raises `InnkeeperError` if it cannot be started."""
    definition = read_xml(order["xml"])
    name, restores, paused = definition.name, order.get("restore"), bool(order.get("paused"))
    goes_on = bool(order.get("goes_on"))
    restarts = {OutcomeKind.POWERED_OFF} if definition.on_poweroff is Action.RESTART else set()
    console_of(name).unlink(missing_ok=True)  # of one that was killed
    while True:
        gc.collect()  # a machine before this one has closed its files, and holds megabytes in cycles
        machine = Machine(config_of(definition, goes_on=goes_on))
        machine.registration, machine.comes_back_after = registration, restarts | set(ends)
        machine.description = lambda machine=machine: {"xml": as_now(order["xml"], machine.live.present())}
        machine.not_saved = "an installation under way" if order.get("then") else None
        machine.restores, machine.consumes = restores and Path(restores), bool(order.get("consume"))
        machine.relocated, machine.bypasses_cache = bool(order.get("relocated")), bool(order.get("bypass_cache"))
        machine.vouched, machine.begins_suspended = bool(order.get("vouched")), paused
        signal.signal(signal.SIGTERM, lambda *_, machine=machine: machine.stop())
        with machine:
            machine.start()
            logging.info("%s runs: %s", name, machine.engine_choice)
            begun()
            outcome = machine.wait()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # until the next start nothing is there to be stopped
            again = machine.comes_back
        logging.info("%s has ended: %s", name, outcome.in_full())
        if not again or outcome.kind not in restarts:
            return outcome, again
        restores, paused, goes_on = None, False, True


def config_of(definition: Definition, *, goes_on: bool = False) -> MachineConfig:
    """With what belongs to the machine as long as it runs. What an installer has said stays in the file that it was said to."""
    config = resolve(definition.machine)
    if goes_on and config.console.kind is ConsoleKind.FILE:
        config = replace(config, console=replace(config.console, append=True))
    if config.console.kind is ConsoleKind.NONE:
        config = replace(config, console=ConsoleConfig(kind=ConsoleKind.UNIX, path=console_of(definition.name)))
    if config.vsock is not None and not config.vsock.path.is_absolute():
        path = runtime_folder() / definition.name / config.vsock.path
        path.unlink(missing_ok=True)
        config = replace(config, vsock=replace(config.vsock, path=path))
    return replace(config, no_reboot=definition.on_reboot is Action.DESTROY)
