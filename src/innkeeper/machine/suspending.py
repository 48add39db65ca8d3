"""The part of a `Machine` that stands still for a while: all of it stays in memory, until somebody lets it go on.

The guest's own clocks stand still too, where the engine can: it finds that no time has passed, and its date behind by as much as it stood. Under an
engine that cannot (KVM), time goes on and the guest catches up.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from innkeeper.engine import Capability
from innkeeper.errors import EngineError, HostError, InnkeeperError
from innkeeper.machine.builder import Assembly, Parts
from innkeeper.machine.control import Command
from innkeeper.machine.frozen import Frozen
from innkeeper.machine.happenings import RUNNING, Happenings
from innkeeper.machine.outcome import Outcome
from innkeeper.machine.run_loop import BoardRun, Pause
from innkeeper.machine.saving import go_on, pause

LOOK_S = 0.1  # how often a machine that stands still looks whether it shall end
STUCK_S = 10.0
SOON_S = 0.001
PAUSED = "paused"


class Publish(Protocol):
    """`Happenings.publish`."""

    def __call__(self, what: str, detail: str = "", *, state: str = RUNNING) -> None: ...


class Suspension:
    """One request to stand still; the machine's supervisor carries it out (`run_loop.Pause`)."""

    def __init__(self, assembly: Assembly, publish: Publish, *, freezes: bool) -> None:
        self._assembly = assembly
        self._publish = publish
        self._freezes = freezes
        self._stands: Future[None] = Future()
        self._resumed, self._over = threading.Event(), threading.Event()
        self._errands: deque[Pause] = deque()
        self._lock = threading.Lock()  # over the errands, of which none comes after the end

    def wait(self) -> None:
        """Returns when it stands still. Raises `InnkeeperError` if it never will."""
        try:
            self._stands.result(STUCK_S)
        except TimeoutError:
            self._resumed.set()  # should it come to that
            raise EngineError(f"the machine does not stand still {STUCK_S:g} s after it was asked to") from None

    def resume(self) -> None:
        """Returns when it goes on, or ends."""
        self._resumed.set()
        if not self._over.wait(STUCK_S):
            raise EngineError(f"the machine does not go on {STUCK_S:g} s after it was asked to")

    @property
    def stands(self) -> bool:
        """Whether it stands still now."""
        return self._stands.done() and not self._over.is_set()

    def errand(self, errand: Pause) -> bool:
        """Has something done while it stands still, as it was when it came to that; False if it goes on already."""
        with self._lock:
            if not self.stands:
                return False
            self._errands.append(errand)
            return True

    def fail(self, why: str, /) -> None:
        self._over.set()
        self._stands.set_exception(HostError(f"cannot suspend the machine: {why}"))

    def carry_out(self, over: Callable[[], bool], /) -> Outcome | None:
        try:
            pause(self._assembly)
            frozen = Frozen(self._assembly) if self._freezes else None
            self._publish("suspended", PAUSED, state=PAUSED)
            self._stands.set_result(None)
            while not self._resumed.wait(LOOK_S) and not over():
                outcome = self._run_errands(frozen, over)
                if outcome is not None:
                    return outcome
            if frozen is not None:
                frozen.thaw()
            go_on(self._assembly)
            if not over():
                self._publish("resumed", "unpaused", state=RUNNING)
        except Exception as error:
            if not self._stands.done():
                self._stands.set_exception(error if isinstance(error, InnkeeperError) else HostError(str(error)))
            raise
        finally:
            with self._lock:
                self._over.set()
            for errand in self._errands:
                errand.fail("the machine goes on, or ends")
        return None

    def _run_errands(self, frozen: Frozen | None, over: Callable[[], bool]) -> Outcome | None:
        """Gives how the machine ends, if one of them ends it."""
        while self._errands:
            if frozen is not None:
                frozen.thaw()  # it stands still all the same: so its clocks are what they were
            outcome = self._errands.popleft().carry_out(over)
            if outcome is not None:
                return outcome
        return None


class Suspendable:
    """What it uses is its machine's."""

    happenings: Happenings
    _lock: threading.Lock
    _parts: Parts | None
    _assembly: Assembly | None
    _run: BoardRun
    _suspension: Suspension | None = None
    begins_suspended = False
    """It stands still before its guest's first instruction, until somebody resumes it."""

    def suspend(self) -> None:
        """Has the machine stand still; returns when it does. Raises `InnkeeperError` if it does already, or cannot."""
        self._ask_to_stand().wait()

    def _begin(self, supervisor: threading.Thread) -> None:
        """Lets the guest run, or stand still from the start."""
        suspension = self._ask_to_stand() if self.begins_suspended else None
        supervisor.start()
        if suspension is not None:
            suspension.wait()

    def _ask_to_stand(self) -> Suspension:
        with self._lock:
            if self._parts is None or self._assembly is None:
                raise HostError("the machine does not run")
            freezes = Capability.SAVING in self._parts.choice.engine.capabilities
            suspension = Suspension(self._assembly, self.happenings.publish, freezes=freezes)
            if not self._run.pause(suspension):
                raise HostError("the machine is suspended, saved, asleep or ending already")
            self._suspension = suspension
        return suspension

    def resume(self) -> None:
        """Lets it go on; returns when it does. Raises `HostError` unless it stands still."""
        with self._lock:
            suspension, self._suspension = self._suspension, None
        if suspension is None:
            raise HostError("the machine is not suspended")
        run = self._run
        suspension.resume()
        while run.pauses:
            time.sleep(SOON_S)  # a few instructions away; then the next suspension may come

    def suspend_commands(self) -> dict[str, Command]:
        """For the control socket."""
        return {"suspend": lambda _asked: self.suspend(), "resume": lambda _asked: self.resume()}
