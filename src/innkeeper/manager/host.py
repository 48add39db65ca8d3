"""One machine's process: it outlives whoever started it, and is found again by the machine's name.

Run as a program, this module reads the machine's XML from its standard input, answers one line of JSON once the guest runs or cannot, and
stays until the machine ends.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from innkeeper.config import ConsoleConfig
from innkeeper.config.console import ConsoleKind
from innkeeper.errors import HostError, InnkeeperError
from innkeeper.machine import Machine
from innkeeper.machine.names import running, runtime_folder
from innkeeper.manager.definition import Action
from innkeeper.manager.domain_xml import read_xml
from innkeeper.manager.store import state_folder

CONSOLE = "console"
LOG_LIMIT = 1 << 20  # bytes of a log that the next start goes on with


def console_of(name: str) -> Path:
    """The socket of a running machine's serial console."""
    return runtime_folder() / name / CONSOLE


def log_of(name: str) -> Path:
    """What the process of a machine said, and why it ended."""
    return state_folder() / f"{name}.log"


def start(name: str, xml: str) -> int:
    """Starts the machine in a process of its own, whose number it returns once the guest runs.

    Raises `HostError` with the reason if it cannot.
    """
    log = log_of(name)
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.unlink()
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd="/",
            start_new_session=True,
        )
    assert process.stdin is not None  # noqa: S101 - pipes, as asked
    assert process.stdout is not None  # noqa: S101 - likewise
    with process.stdin as words, process.stdout as answers:
        words.write(xml.encode())
        words.close()
        line = answers.readline()
    if not line:
        process.wait()
        raise HostError(f"the process of {name} has ended by itself; {log} says why")
    answer = json.loads(line)
    if "error" in answer:
        process.wait()
        raise HostError(answer["error"])
    process.returncode = 0  # it is nobody's child any more: init's, when we end
    return int(answer["process"])


def main() -> int:
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    definition = read_xml(sys.stdin.read())
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
            answer({"error": str(error)})
            return 1
        logging.info("%s runs: %s", name, machine.engine_choice)
        answer({"process": os.getpid()})
        outcome = machine.wait()
    logging.info("%s has ended: %s", name, outcome.in_full())
    return 0 if outcome.error is None else 1


def answer(words: dict[str, object]) -> None:
    """Tells whoever started us, who then is no longer needed."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    os.close(nothing)


if __name__ == "__main__":
    sys.exit(main())
