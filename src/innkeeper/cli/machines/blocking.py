"""What the verbs that work on machines' disks have in common: operands, bandwidths, waiting for a job and saying how far it is."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from innkeeper.cli.machines import changing, common
from innkeeper.cli.parser import operand
from innkeeper.cli.storage.common import follow
from innkeeper.errors import ConfigError, HostError
from innkeeper.manager.client import connect

if TYPE_CHECKING:
    from innkeeper.machine.block_jobs import JobNow
    from innkeeper.manager.block_jobs import Blocks
    from innkeeper.manager.service import Manager
    from innkeeper.manager.storage.work import Work

LOOK_S = 0.1
MIB = 1 << 20
KINDS = {"pull": "Block Pull", "commit": "Block Commit", "active-commit": "Active Block Commit", "copy": "Block Copy"}
READY = "ready"


def disk(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "path", "the disk: its target, as in vda, or the file that it is in")


def waiting(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--wait", action="store_true", help="return when the job has ended")
    add("--verbose", action="store_true", help="with --wait: say how far it is")
    add("--timeout", type=float, metavar="SECONDS", help="with --wait: abort the job after so long")
    add("--async", dest="at_once", action="store_true", help="with --wait: do not wait for the end of what is aborted")
    add("--bytes", action="store_true", help="the bandwidth is in bytes a second, not MiB")


def waits(arguments: argparse.Namespace, *implied: str) -> bool:
    """Raises `ConfigError` for options of waiting without it."""
    if arguments.wait or any(getattr(arguments, option) for option in implied):
        return True
    for option, given in (
        ("--verbose", arguments.verbose),
        ("--timeout", arguments.timeout is not None),
        ("--async", arguments.at_once),
    ):
        if given:
            raise ConfigError(f"{option} is for those who wait; add --wait")
    return False


def bandwidth(arguments: argparse.Namespace) -> int:
    """In bytes a second; 0 for as many as there can be. Raises `ConfigError`."""
    text = arguments.bandwidth
    if text is None:
        return 0
    if text.lstrip("-").isdigit() and text.isascii():
        number = int(text)
        return max(number, 0) * (1 if arguments.bytes else MIB)  # what is negative means no limit, as in virsh
    return changing.size_of(text, "the bandwidth")


class Job:
    """A job that was begun, and whoever waits for it. `aborted` is what is said if somebody gives it up."""

    def __init__(self, blocks: Blocks, name: str, path: str, number: int, *, title: str, aborted: str) -> None:
        self._blocks, self._name, self._path, self._number = blocks, name, path, number
        self._title, self._aborted = title, aborted

    def wait(self, arguments: argparse.Namespace) -> bool:
        """Until the job has ended, or mirrors; whether nobody gave it up. Raises `HostError` if it fails."""
        deadline = None if arguments.timeout is None else time.monotonic() + arguments.timeout
        try:
            while True:
                now = self._blocks.info(self._name, self._path)
                if now["number"] != self._number or now["state"] == READY:
                    break
                self._tell(arguments, now)
                if deadline is not None and time.monotonic() >= deadline:
                    return self._give_up(arguments)
                time.sleep(LOOK_S)
        except KeyboardInterrupt:
            return self._give_up(arguments)
        return self._ended(arguments, now)

    def _ended(self, arguments: argparse.Namespace, now: JobNow) -> bool:
        if now["state"] != READY or now["number"] != self._number:
            if now["ended"] == self._number and now["outcome"] == "failed":
                raise HostError(f"the job of disk {self._path} has failed: {now['error']}; the disk is as it was")
            if now["ended"] == self._number and now["outcome"] == "aborted":
                print(f"\n{self._aborted}")
                return False
            if now["error"] is not None:
                print(now["error"], file=sys.stderr)
        if arguments.verbose:
            print(f"\r{self._title}: [100 %]", file=sys.stderr)
        return True

    def _tell(self, arguments: argparse.Namespace, now: JobNow) -> None:
        if arguments.verbose:
            print(f"\r{self._title}: [{percent(now):3} %]", end="", file=sys.stderr, flush=True)

    def _give_up(self, arguments: argparse.Namespace) -> bool:
        self._blocks.abort(self._name, self._path, at_once=arguments.at_once)
        print(f"\n{self._aborted}")
        return False


def waited(arguments: argparse.Namespace, name: str, number: int, *, title: str, aborted: str) -> bool:
    """As `Job.wait`, for a job of the disk that is named; over a connection of its own, which an interruption may leave in the middle of an answer."""
    with connect(system=arguments.system) as watcher:
        return Job(watcher.blocks, name, arguments.path, number, title=title, aborted=aborted).wait(arguments)


def percent(now: JobNow) -> int:
    return 100 if now["state"] == READY or not now["total"] else min(99, 100 * now["done"] // now["total"])


def runs(manager: Manager, name: str) -> bool:
    return manager.domains.state(name) != "shut off"


def still(arguments: argparse.Namespace, what: str, work: Work[str]) -> dict[str, object]:
    """Of a machine that is shut off: all of it, at once. Gives what is to be said of it as JSON."""
    return ended(follow(what, work, verbose=arguments.verbose))


def begun(path: str, number: int) -> dict[str, object]:
    return {"disk": path, "job": number, "done": False}


def ended(path: str) -> dict[str, object]:
    return {"disk": path, "done": True}
