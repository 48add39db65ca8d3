"""The service of what takes machines a while, and of whether they can be talked with meanwhile. Jobs of machines are saves."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from innkeeper.errors import HostError
from innkeeper.machine.control import ask
from innkeeper.machine.names import control_of, running
from innkeeper.manager.naming import find
from innkeeper.manager.saves import progress_of
from innkeeper.manager.served import served

if TYPE_CHECKING:
    from innkeeper.manager.domains import Domains
    from innkeeper.manager.saves import Saves

ANSWER_S = 2.0  # for a machine that can be talked with
NONE, UNBOUNDED, COMPLETED, FAILED = "None", "Unbounded", "Completed", "Failed"
SAVE = "Save"


class JobInfo(TypedDict):
    """One job. Bytes of memory, and milliseconds."""

    type: str
    operation: str | None
    elapsed: int
    processed: int
    remaining: int
    total: int


class Control(TypedDict):
    """What can be said of talking with a machine: `ok`, `background job` since so many seconds, or `error`."""

    state: str
    seconds: float


NO_JOB = JobInfo(type=NONE, operation=None, elapsed=0, processed=0, remaining=0, total=0)


class Jobs:
    """Methods raise `InnkeeperError`."""

    def __init__(self, domains: Domains, saves: Saves) -> None:
        self._domains, self._saves = domains, saves

    @served
    def info(self, name: str) -> JobInfo:
        """What a running machine is busy with."""
        found = progress_of(self._domains.running_name(name))
        if found is None:
            return NO_JOB
        done, total, elapsed = found
        return JobInfo(
            type=UNBOUNDED, operation=SAVE, elapsed=elapsed, processed=done, remaining=total - done, total=total
        )

    @served
    def completed(self, name: str, *, keep: bool = False, failed: bool = False) -> JobInfo:
        """What a machine was busy with last, if that is done and was not asked for before; with `failed` also if it failed."""
        name = find(name)[0]
        found = self._saves.finished.get(name)
        if found is None or (found["failed"] and not failed):
            return NO_JOB
        if not keep:
            self._saves.finished.pop(name, None)
        total = found["total"]
        kind = FAILED if found["failed"] else COMPLETED
        return JobInfo(type=kind, operation=SAVE, elapsed=found["elapsed"], processed=total, remaining=0, total=total)

    @served
    def abort(self, name: str) -> str:
        """Gives up what a running machine is busy with; it goes on."""
        name = self._domains.running_name(name)
        ask(control_of(name), "save-abort")
        return name

    @served
    def control(self, name: str) -> Control:
        """Whether a running machine can be talked with."""
        name = self._domains.running_name(name)
        try:
            found = ask(control_of(name), "save-progress", patience_s=ANSWER_S)
        except HostError:
            if name not in running():
                raise
            return Control(state="error", seconds=0.0)
        if found is not None:
            return Control(state="background job", seconds=found[2] / 1000)
        return Control(state="ok", seconds=0.0)
