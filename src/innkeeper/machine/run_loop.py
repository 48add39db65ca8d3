"""The vCPU threads of one board, from its start to the first thing that ends it."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from enum import Enum
from typing import Protocol, assert_never

from innkeeper.engine import Debug, Exit, Halt, InternalError, Kicked, Shutdown, Vcpu
from innkeeper.errors import EngineError
from innkeeper.machine.debugging import Gate
from innkeeper.machine.outcome import Outcome, OutcomeKind

STUCK_S = 10.0  # a kicked vCPU that has not come back after this never will

logger = logging.getLogger(__name__)


class Sleep(Enum):
    """What a guest asks for that does not end the run."""

    SUSPEND = "sleep with memory kept"
    WAKE = "go on"


class Pause(Protocol):
    """What wants the vCPUs to stand still for a while."""

    def carry_out(self, over: Callable[[], bool], /) -> Outcome | None:
        """Called when they do. Gives how the machine ends, if it does; `over` says that it shall end anyway."""
        ...

    def fail(self, why: str, /) -> None:
        """It does not come to that."""
        ...


class Sockets(Protocol):
    """Which vCPUs there are."""

    @property
    def plugged(self) -> Collection[int]: ...
    def settle(self) -> None:
        """None runs: those that are not plugged in are to hear of nothing."""
        ...

    def left(self, index: int, /) -> None:
        """One that was unplugged has left the guest."""
        ...


class BoardRun:
    """What a guest asks of the machine arrives here from a vCPU's thread, which cannot take itself
    apart; the machine's supervisor waits for it. The first request counts.
    """

    def __init__(self, gate: Gate | None = None, sockets: Sockets | None = None) -> None:
        """Without `sockets` all vCPUs run, and stay."""
        self._gate, self._sockets = gate, sockets
        self._outcome: Outcome | Sleep | None = None
        self._woken = False
        self.reboots = False
        """A guest that powers off is reset instead: its user wants it back."""
        self._pause: Pause | None = None
        self.pauses = False
        """One is carried out now."""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._vcpus: Sequence[Vcpu] = ()
        self._threads: dict[int, threading.Thread] = {}  # of each vCPU; of one that was unplugged, the last
        self._runs = False

    # ---- what the guest asks for (platforms.Control) --------------------------------------------

    def power_off(self) -> None:
        self.end(Outcome(OutcomeKind.RESET if self.reboots else OutcomeKind.POWERED_OFF))

    def suspend(self) -> None:
        with self._lock:
            if self._outcome is None:
                self._outcome = Sleep.SUSPEND
        self._interrupt()

    def wake(self) -> None:
        """Counts from the moment of `suspend`, even before the supervisor has seen that."""
        with self._lock:
            self._woken = True
        self._ended.set()

    def reset(self) -> None:
        self.end(Outcome(OutcomeKind.RESET))

    def leave(self, status: int, /) -> None:
        self.end(Outcome(OutcomeKind.EXITED, status=status))

    # ---- the supervisor's side ------------------------------------------------------------------

    def end(self, outcome: Outcome) -> None:
        """Asks for the end. From any thread."""
        with self._lock:
            if self._outcome is None or self._outcome is Sleep.SUSPEND:
                self._outcome = outcome
        self._interrupt()

    def pause(self, pause: Pause) -> bool:
        """Asks for a pause, from any thread; False if another one comes first, or the guest sleeps or ends."""
        with self._lock:
            if self._outcome is not None or self._pause is not None or self.pauses:
                return False
            self._pause = pause
        self._interrupt()
        return True

    def _carry_out_pause(self) -> bool:
        """The vCPUs were stopped: for a pause, or because it all ends. Tells whether they may go on."""
        with self._lock:
            pause, self._pause = self._pause, None
            self.pauses = pause is not None
            if self._outcome is None:
                self._ended.clear()
        if pause is None:
            return False
        try:
            if self._is_over():
                pause.fail("the machine was ended meanwhile")
                return False
            outcome = pause.carry_out(self._is_over)
        finally:
            self.pauses = False
        if outcome is not None:
            self.end(outcome)
            return False
        return True

    def _is_over(self) -> bool:
        with self._lock:
            return self._outcome is not None

    def _interrupt(self) -> None:
        """Not an instruction more than the one that asked: a vCPU hears its kick behind it."""
        self._ended.set()
        for vcpu in self._vcpus:
            vcpu.kick()
        if self._gate is not None:
            self._gate.wake()

    def start(self, vcpus: Sequence[Vcpu], started: Callable[[], None]) -> None:
        """`started` is called just before the first vCPU's first instruction."""
        self._vcpus = vcpus
        if self._sockets is not None:
            self._sockets.settle()
        with self._lock:
            plugged = range(len(vcpus)) if self._sockets is None else sorted(self._sockets.plugged)
            self._threads = {index: self._thread(index, started if index == 0 else None) for index in plugged}
            self._runs = True
            for thread in self._threads.values():
                thread.start()

    def _thread(self, index: int, started: Callable[[], None] | None = None) -> threading.Thread:
        arguments = (index, self._vcpus[index], started)
        return threading.Thread(target=self._run, args=arguments, name=f"vcpu-{index}", daemon=True)

    def thread_ids(self) -> dict[int, int | None]:
        """What the host calls the thread of each vCPU, if it runs."""
        with self._lock:
            threads = dict(self._threads)
        return {index: thread.native_id if thread.is_alive() else None for index, thread in threads.items()}

    # ---- vCPUs that come and go -----------------------------------------------------------------

    def plug(self, index: int, prepare: Callable[[], None], /) -> bool:
        """Runs a vCPU with the others, once it is prepared; False if they stand still for a pause."""
        with self._lock:
            if self.pauses:
                return False
            prepare()
            if self._runs:
                self._threads[index] = self._thread(index)
                self._threads[index].start()
            return True

    def unplug(self, index: int, /) -> None:
        self._vcpus[index].kick()

    def wait_for_end(self, index: int, /) -> None:
        """Until the thread of a vCPU that was unplugged has left the guest. Raises `EngineError` if it does not."""
        with self._lock:
            thread = self._threads.get(index)
        if thread is not None:
            thread.join(STUCK_S)
            if thread.is_alive():
                raise EngineError(f"{thread.name} does not leave the guest {STUCK_S:g} s after it was kicked")

    def _stays(self, index: int) -> bool:
        return self._sockets is None or index in self._sockets.plugged

    def run(
        self,
        vcpus: Sequence[Vcpu],
        started: Callable[[], None],
        deadline: float | None,
        patience: Callable[[Outcome | Sleep | None], Callable[[], None]],
    ) -> Outcome | Sleep:
        """From the start to what ends it, with the pauses between. `patience` gives `stop` what it calls."""
        while True:
            self.start(vcpus, started)
            self.stop(patience(self.wait(deadline)))
            if not self._carry_out_pause():
                return self.request()

    def wait(self, deadline: float | None) -> Outcome | Sleep | None:
        """The first request, or a timeout when `time.monotonic()` reaches `deadline`; None for a pause."""
        remaining = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        if not self._ended.wait(remaining):
            self.end(Outcome(OutcomeKind.TIMEOUT))
        with self._lock:
            return self._outcome

    def sleep(self, deadline: float | None) -> Outcome | Sleep:
        """After `wait` gave `SUSPEND`: waits for `WAKE`, or for an end from outside."""
        with self._lock:
            if self._outcome is Sleep.SUSPEND and not self._woken:
                self._ended.clear()
        remaining = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        if not self._ended.wait(remaining):
            return Outcome(OutcomeKind.TIMEOUT)
        request = self.request()
        return Sleep.WAKE if request is Sleep.SUSPEND else request

    def request(self) -> Outcome | Sleep:
        """What ended it."""
        with self._lock:
            assert self._outcome is not None  # noqa: S101 - only asked for after the event
            return self._outcome

    def stop(self, still_waiting: Callable[[], None], slice_s: float = 0.2) -> None:
        """Takes the vCPUs out of the guest. `still_waiting` is called now and then if that takes long.

        Raises `EngineError` if one does not come back.
        """
        with self._lock:
            self._runs, threads = False, list(self._threads.values())
        self._interrupt()
        give_up = time.monotonic() + STUCK_S
        for thread in threads:
            while thread.is_alive():
                thread.join(slice_s)
                if thread.is_alive():
                    still_waiting()
                    if time.monotonic() > give_up:
                        raise EngineError(f"{thread.name} does not leave the guest {STUCK_S:g} s after it was kicked")

    def _run(self, index: int, vcpu: Vcpu, started: Callable[[], None] | None) -> None:
        if started is not None:
            started()
        try:
            while self._stays(index) and not self._ended.is_set():
                if self._gate is not None and not self._gate.enter(index, self._ended):
                    return
                exit_ = vcpu.run()
                if self._gate is not None and isinstance(exit_, Debug):
                    self._gate.left(index, exit_)
                    continue
                if not self._stays(index):
                    break  # whatever it came to meanwhile
                outcome = decide(exit_)
                if outcome is not None:
                    self.end(outcome)
                    return
            if self._sockets is not None and not self._stays(index):
                self._sockets.left(index)
        except BaseException as error:
            logger.debug("a vCPU's thread ends", exc_info=True)
            self.end(Outcome(OutcomeKind.FAILED, error=error))


def decide(exit_: Exit) -> Outcome | None:
    """What an exit means for the machine; None to go on."""
    match exit_:
        case Kicked():
            return None
        case Halt():
            return Outcome(OutcomeKind.HALTED)
        case Shutdown():
            return Outcome(OutcomeKind.TRIPLE_FAULT)
        case Debug():
            return Outcome(OutcomeKind.FAILED, error=EngineError("the guest stopped for a debugger; none is attached"))
        case InternalError(detail):
            return Outcome(OutcomeKind.FAILED, error=EngineError(detail))
        case _:
            assert_never(exit_)
