"""The gate between vCPU threads and the guest: a debugger opens and closes it. The target of `innkeeper.gdb`.

Every thread passes the gate before each VM entry. Whoever closes it kicks the vCPUs and waits until all are in front of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from innkeeper import gdb
from innkeeper.config import GdbConfig
from innkeeper.engine import Debug, Vcpu
from innkeeper.errors import EngineError
from innkeeper.gdb import Stopped, Watching, WatchKind
from innkeeper.memory import GuestMemory, translate

if TYPE_CHECKING:
    from innkeeper._core import CpuState

PAGE = 4096
STUCK_S = 10.0


class Gate:
    """Holds the vCPUs of one board after the other, and what a debugger wants them to stop for."""

    def __init__(self, *, closed: bool, reset: Callable[[], None], kill: Callable[[], None]) -> None:
        self.reset = reset
        self.kill = kill
        self._changed = threading.Condition()
        self._closed = closed
        self._over = False
        self._vcpus: Sequence[Vcpu] = ()
        self._memory: GuestMemory | None = None
        self._waiting: set[int] = set()
        self._only: int | None = None  # the vCPU that steps
        self._breakpoints: frozenset[int] = frozenset()
        self._watches: frozenset[Watching] = frozenset()
        self._why: Stopped | None = None
        self._tell: Callable[[], None] | None = None

    # ---- the machine's side ---------------------------------------------------------------------

    def attach(self, vcpus: Sequence[Vcpu], memory: GuestMemory) -> None:
        """A new board. A step that was under way has ended with the one before."""
        with self._changed:
            self._vcpus, self._memory = vcpus, memory
            self._waiting.clear()
            self._only = None

    def end(self) -> None:
        """The machine has ended; nobody is held any more."""
        with self._changed:
            self._over = True
        self._notify()

    def enter(self, index: int, ended: threading.Event) -> bool:
        """Called by a vCPU's thread before each VM entry; returns when it may enter. False if the board has ended."""
        with self._changed:
            self._waiting.add(index)
            self._notify_locked()
            self._changed.wait_for(lambda: ended.is_set() or self._over or self._is_open(index))
            self._waiting.discard(index)
            if ended.is_set() or self._over:
                return False
            watches = [
                (at.address, at.length, at.kind is not WatchKind.WRITE, at.kind is not WatchKind.READ)
                for at in self._watches
            ]
            self._vcpus[index].set_stops(sorted(self._breakpoints), watches, self._only == index)
            return True

    def wake(self) -> None:
        """Whoever waits looks again whether its board has ended."""
        with self._changed:
            self._changed.notify_all()

    def left(self, index: int, exit_: Debug) -> None:
        """A vCPU has stopped for the debugger: so shall all."""
        with self._changed:
            if self._why is None:
                self._why = Stopped(index, exit_.why)
            self._close_locked()

    def _is_open(self, index: int) -> bool:
        return not self._closed and self._only in (None, index)

    def _close_locked(self) -> None:
        self._closed = True
        for vcpu in self._vcpus:
            vcpu.kick()

    def _notify(self) -> None:
        with self._changed:
            self._notify_locked()

    def _notify_locked(self) -> None:
        self._changed.notify_all()
        if self._tell is not None:
            self._tell()

    # ---- the debugger's side (innkeeper.gdb.Target) ---------------------------------------------

    def vcpus(self) -> int:
        return max(len(self._vcpus), 1)

    def state(self, vcpu: int, /) -> CpuState:
        return self._vcpus[vcpu].get_state()

    def set_state(self, vcpu: int, state: CpuState, /) -> None:
        self._vcpus[vcpu].set_state(state)

    def read(self, vcpu: int | None, address: int, length: int, /) -> bytes:
        memory, place, data = self._ram(), self._places(vcpu), b""
        while len(data) < length:
            at = address + len(data)
            piece = min(length - len(data), PAGE - at % PAGE)
            gpa = place(at)
            try:
                data += memory.read(gpa, piece) if gpa is not None else b""
            except ValueError:
                break  # not RAM
            if gpa is None:
                break
        return data

    def write(self, vcpu: int | None, address: int, data: bytes, /) -> bool:
        memory, place, pieces, at = self._ram(), self._places(vcpu), [], 0
        while at < len(data):
            size = min(len(data) - at, PAGE - (address + at) % PAGE)
            gpa = place(address + at)
            if gpa is None:
                return False
            pieces.append((gpa, data[at : at + size]))
            at += size
        try:
            for gpa, piece in pieces:
                memory.read(gpa, len(piece))  # is it RAM, all of it?
        except ValueError:
            return False
        for gpa, piece in pieces:
            memory.write(gpa, piece)
        return True

    def _places(self, vcpu: int | None) -> Callable[[int], int | None]:
        """Leads an address that a vCPU uses to guest-physical memory; without one they are that already."""
        if vcpu is None:
            return lambda address: address
        state, memory = self.state(vcpu), self._ram()
        return lambda address: translate(state, memory, address)

    def _ram(self) -> GuestMemory:
        assert self._memory is not None  # noqa: S101 - a debugger comes to a machine that was built
        return self._memory

    def set_stops(self, breakpoints: frozenset[int], watches: frozenset[Watching], /) -> None:
        self._breakpoints, self._watches = breakpoints, watches

    def resume(self, stepping: int | None, /) -> None:
        with self._changed:
            self._why, self._only, self._closed = None, stepping, False
            self._changed.notify_all()

    def interrupt(self) -> None:
        with self._changed:
            if self._why is None:
                self._why = Stopped(0)
            self._close_locked()
            if not self._changed.wait_for(self._stands, STUCK_S):
                raise EngineError(f"a vCPU does not leave the guest {STUCK_S:g} s after it was kicked")

    def _stands(self) -> bool:
        return self._over or len(self._waiting) == len(self._vcpus)

    def stopped(self) -> Stopped | None:
        with self._changed:
            return self._why if self._closed and self._stands() else None

    def ended(self) -> bool:
        return self._over

    def watch(self, changed: Callable[[], None] | None, /) -> None:
        with self._changed:
            self._tell = changed


def make_gate(config: GdbConfig | None, *, reset: Callable[[], None], kill: Callable[[], None]) -> Gate | None:
    """For a machine that can be debugged."""
    return None if config is None else Gate(closed=config.wait, reset=reset, kill=kill)


def serve_gdb(config: GdbConfig | None, gate: Gate | None) -> gdb.GdbServer | None:
    """Lets gdb in, where that was asked for. Raises `HostError`."""
    if config is None or gate is None:
        return None
    server = gdb.GdbServer(gate, port=config.port, path=config.path)
    server.start()
    return server
