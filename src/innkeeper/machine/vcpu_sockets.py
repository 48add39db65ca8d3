"""Which of a machine's vCPUs are plugged in, from its start to its end, whatever board is around them; and how that changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from innkeeper.errors import ConfigError, HostError

PATIENCE_S = 5.0  # for a guest to give vCPUs back, and as long again for each ten of them
BOARD_S = 10.0  # for the next board, while the machine is reset
SUCCEEDED, PENDING = 0x00, 0x84  # _OST, of an eject request
IN_USE = (0x81, 0x82, 0x83)  # itself, for the moment, or what depends on it


class Processors(Protocol):
    """An engine's virtual machine."""

    def set_plugged(self, index: int, plugged: bool, /) -> None: ...  # noqa: FBT001 - what it is about


class Registers(Protocol):
    """A board's."""

    def announce(self, index: int, /) -> None: ...
    def ask(self, index: int, /) -> None: ...
    def withdraw(self, index: int, /) -> None: ...


class Threads(Protocol):
    """Those that run vCPUs."""

    def plug(self, index: int, prepare: Callable[[], None], /) -> bool:
        """Runs a vCPU with the others, once it is prepared; False if they stand still for a pause."""
        ...

    def unplug(self, index: int, /) -> None:
        """Calls a vCPU out of the guest that is not plugged in any more."""
        ...

    def wait_for_end(self, index: int, /) -> None:
        """Until the thread of a vCPU that was unplugged has left the guest."""
        ...


class VcpuSockets:
    """`devices.cpu_hotplug.Sockets`. Locks are taken in the order: this one's, the board's, the threads'.

    Each vCPU is made with the machine. One that is not plugged in has no thread and hears of nothing.
    """

    def __init__(self, possible: int, plugged: int, *, fixed: bool = False) -> None:
        """`fixed`: a debugger stops all that it has met; there they stay."""
        self._possible = possible
        self._plugged = frozenset(range(plugged))  # replaced, and never changed: it is read without the lock
        self._fixed = fixed
        self._asked: set[int] = set()
        self._refused: dict[int, int] = {}
        self._vm: Processors | None = None
        self._power_on: Callable[[int], None] | None = None
        self._threads: Threads | None = None
        self._registers: Registers | None = None  # None as well on a board that has none
        self._changed = threading.Condition()
        self._one_at_a_time = threading.Lock()  # changes

    # ---- the guest's side (devices.cpu_hotplug.Sockets) -----------------------------------------

    @property
    def possible(self) -> int:
        return self._possible

    @property
    def plugged(self) -> frozenset[int]:
        return self._plugged

    def ejected(self, index: int, /) -> None:
        with self._changed:
            if self._fixed or index == 0 or index not in self._plugged or self._threads is None:
                return
            self._plugged -= {index}
            self._asked.discard(index)
            self._threads.unplug(index)
            self._changed.notify_all()

    def answered(self, index: int, status: int, /) -> None:
        with self._changed:
            if index in self._asked and status not in (SUCCEEDED, PENDING):
                self._asked.discard(index)
                self._refused[index] = status
                self._changed.notify_all()

    def take_on(self, plugged: frozenset[int], /) -> None:
        if 0 not in plugged or not plugged <= frozenset(range(self._possible)):
            raise ValueError(f"vCPUs {numbers(plugged)} are plugged in; it must be 0 and others below {self._possible}")
        with self._changed:
            self._plugged = plugged
            if self._vm is not None:
                for index in range(self._possible):
                    self._vm.set_plugged(index, index in plugged)

    # ---- boards and threads ---------------------------------------------------------------------

    def power_on(self) -> None:
        """The machine is reset. What a guest was asked for is gone."""
        with self._changed:
            self._plugged -= self._asked
            self._asked.clear()
            self._changed.notify_all()

    def connect(self, vm: Processors, power_on: Callable[[int], None], registers: Registers | None) -> None:
        """A board is built. `power_on` puts a vCPU into its state after power-on."""
        with self._changed:
            self._vm, self._power_on, self._registers = vm, power_on, registers
            self._settle()

    def begin(self, threads: Threads) -> None:
        """All is ready for the guest: from here on vCPUs can be plugged in."""
        with self._changed:
            self._threads = threads
            self._changed.notify_all()

    def disconnect(self) -> None:
        """The board is taken apart."""
        with self._changed:
            self._vm = self._power_on = self._threads = self._registers = None

    def settle(self) -> None:
        """No vCPU runs: those that are not plugged in hear of nothing from here on."""
        with self._changed:
            self._settle()

    def left(self, index: int) -> None:
        """A vCPU that was unplugged has left the guest. Called from its thread, before that ends."""
        vm = self._vm
        if vm is not None:
            vm.set_plugged(index, False)  # noqa: FBT003 - out

    def _settle(self) -> None:
        if self._vm is not None:
            for index in sorted(frozenset(range(self._possible)) - self._plugged):
                self._vm.set_plugged(index, False)  # noqa: FBT003 - out

    # ---- changes --------------------------------------------------------------------------------

    def set_count(self, count: int, patience_s: float = PATIENCE_S) -> None:
        """Plugs vCPUs in, or asks the guest for some and waits until it has given them back.

        Raises `ConfigError` for a number that cannot be, `HostError` if the guest does not give them back in time.
        """
        if not 1 <= count <= self._possible:
            raise ConfigError(
                f"{count} vCPUs are asked for; the machine was started with room for {self._possible}: setvcpus --maximum "
                "--config gives it more, from its next start on"
            )
        if self._fixed and count != len(self._plugged):
            raise HostError("cannot change the vCPUs of a machine that gdb may have stopped; start it without --gdb")
        with self._one_at_a_time:
            for index in self._free(count):
                self._plug(index)
            self._wait_until_gone(self._ask_down_to(count), patience_s)

    def _free(self, count: int) -> list[int]:
        """Which are to be plugged in. Of those that were to go, none has to any more that is still there."""
        with self._changed:
            missing = count - len(self._plugged)
            if missing >= 0:
                for index in self._asked:
                    self._withdraw(index)
                self._asked.clear()
            return sorted(frozenset(range(self._possible)) - self._plugged)[: max(missing, 0)]

    def _withdraw(self, index: int) -> None:
        if self._registers is not None:
            self._registers.withdraw(index)

    def _plug(self, index: int) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._threads is not None, BOARD_S):
                raise HostError("the machine has no board that vCPUs could be plugged into; it is ending")
            threads = self._threads
        assert threads is not None  # noqa: S101 - as was just waited for
        threads.wait_for_end(index)  # without the lock, which that thread may be waiting for
        with self._changed:
            if self._threads is not threads:
                raise HostError("the machine was reset meanwhile; ask again")
            if not threads.plug(index, lambda: self._put_in(index)):
                raise HostError("the machine stands still; inn resume lets it go on, and then vCPUs can be plugged in")
            if self._registers is not None:
                self._registers.announce(index)

    def _put_in(self, index: int) -> None:
        assert self._vm is not None and self._power_on is not None  # noqa: S101, PT018 - with the threads
        self._vm.set_plugged(index, True)  # noqa: FBT003 - in
        self._power_on(index)
        self._plugged |= {index}

    def _ask_down_to(self, count: int) -> frozenset[int]:
        """The last ones shall go."""
        with self._changed:
            going = frozenset(sorted(self._plugged)[count:])
            for index in self._asked - going:
                self._withdraw(index)
            self._asked = set(going)
            for index in sorted(going):
                self._refused.pop(index, None)
                if self._registers is not None:
                    self._registers.ask(index)
            return going

    def _wait_until_gone(self, going: frozenset[int], patience_s: float) -> None:
        patience_s += patience_s * (len(going) // 10)
        with self._changed:
            self._changed.wait_for(lambda: not going & self._asked, patience_s)
            refused = sorted(going & self._refused.keys())
            there = going & self._plugged
            if refused:
                raise refusal(refused[0], self._refused[refused[0]])
        if there:
            raise HostError(
                f"the guest has not given vCPUs {numbers(there)} back within {patience_s:g} s; it may do so later, "
                "and they are gone with its next reset"
            )


def refusal(index: int, status: int) -> HostError:
    if status in IN_USE:
        return HostError(f"the guest keeps vCPU {index}, which it says is in use; ask again later")
    return HostError(
        f"the guest tried in vain to give vCPU {index} back; its kernel's log says more (_OST: {status:#x})"
    )


def numbers(indices: Iterable[int]) -> str:
    """As a list.

    >>> numbers({3, 1})
    '1, 3'
    """
    return ", ".join(map(str, sorted(indices))) or "none"
