"""Hot plug of processors: registers by which ACPI's methods learn which are there, and let go of those that shall leave.

Spec: ACPI 6.5, 5.6.6 (what a device is notified of), 6.3.3 (_EJ0), 6.3.5 (_OST) and 6.3.7 (_STA). The registers are ours: a word of 32
bits for each processor, by APIC ID, so that no method has to select one first. Read: 0 plugged in │ 1 has come │ 2 shall go. Written:
1, 2 the guest has heard of that │ 3 lets go │ 4 what became of it: 15-8 of which event, 23-16 how, in _OST's numbers. Left out: accesses
other than of a whole word, which read as what they are a part of, and write nothing.
"""

from collections.abc import Callable
from threading import Lock
from typing import Protocol

from innkeeper.bus import Fields, State
from innkeeper.bus.state import number
from innkeeper.records import dataclass

PLUGGED, ARRIVED, WANTED, EJECT, OUTCOME = (1 << bit for bit in range(5))
EVENT_SHIFT, STATUS_SHIFT, BYTE = 8, 16, 0xFF
EVENT_EJECT = 3  # of _OST, in its low byte: asked for by a notification
REGISTER_BYTES = 4
PROCESSORS = 64
EVERYBODY = (1 << PROCESSORS) - 1
STATE = Fields(plugged=number(EVERYBODY, least=1), arrived=number(EVERYBODY), wanted=number(EVERYBODY))


@dataclass(frozen=True, slots=True)
class CpuHotplugState:
    """What the guest has yet to hear of, a bit a processor."""

    arrived: int = 0
    wanted: int = 0


class Sockets(Protocol):
    """Where a machine's processors are, which outlives boards. They are counted as their APIC IDs are.

    The guest's side is called from a vCPU's thread.
    """

    @property
    def possible(self) -> int:
        """How many there may be."""
        ...

    @property
    def plugged(self) -> frozenset[int]:
        """Those that are there."""
        ...

    def ejected(self, index: int, /) -> None:
        """The guest lets go of a processor. What is not there, or stays, does not matter."""
        ...

    def answered(self, index: int, status: int, /) -> None:
        """What became of an eject request, in _OST's numbers: 0 is success, 84h that it takes longer."""
        ...

    def take_on(self, plugged: frozenset[int], /) -> None:
        """A saved machine had these. Raises `ValueError` if this one cannot."""
        ...


def _nothing() -> None: ...


class CpuHotplug:
    """`notify` makes the guest look."""

    def __init__(self, sockets: Sockets, notify: Callable[[], None], state: CpuHotplugState | None = None) -> None:
        self._sockets: Sockets | None = sockets
        self._notify = notify
        self._lock = Lock()
        state = state or CpuHotplugState()
        self._arrived, self._wanted = state.arrived, state.wanted
        if self._arrived | self._wanted:
            notify()

    def read(self, offset: int, size: int, /) -> int:
        index, byte = divmod(offset, REGISTER_BYTES)
        with self._lock:
            word = (
                PLUGGED * (self._plugged >> index & 1)
                | ARRIVED * (self._arrived >> index & 1)
                | WANTED * (self._wanted >> index & 1)
            )
        return word >> (8 * byte) & (1 << (8 * size)) - 1

    def write(self, offset: int, size: int, value: int, /) -> None:
        index, byte = divmod(offset, REGISTER_BYTES)
        if byte or size != REGISTER_BYTES:
            return
        bit, sockets = 1 << index, self._sockets
        with self._lock:
            if value & (ARRIVED | EJECT):
                self._arrived &= ~bit
            if value & (WANTED | EJECT):
                self._wanted &= ~bit
        if sockets is None:
            return
        if value & EJECT:
            sockets.ejected(index)
        elif value & OUTCOME and value >> EVENT_SHIFT & BYTE == EVENT_EJECT:
            sockets.answered(index, value >> STATUS_SHIFT & BYTE)

    def announce(self, index: int) -> None:
        """A processor was plugged in."""
        with self._lock:
            self._arrived |= 1 << index
            self._wanted &= ~(1 << index)
        self._notify()

    def ask(self, index: int) -> None:
        """A processor shall go."""
        with self._lock:
            self._wanted |= 1 << index
        self._notify()

    def withdraw(self, index: int) -> None:
        """It may stay, unless the guest has heard already that it shall go."""
        with self._lock:
            self._wanted &= ~(1 << index)

    def disconnect(self) -> None:
        """The board is taken apart, and what it calls no longer held."""
        self._notify = _nothing
        self._sockets = None

    def state(self) -> State:
        with self._lock:
            return STATE.of(self)

    def restore(self, state: State, /) -> None:
        saved = STATE.check(state)
        if self._sockets is not None:
            self._sockets.take_on(frozenset(i for i in range(PROCESSORS) if saved["plugged"] >> i & 1))
        with self._lock:
            self._arrived, self._wanted = saved["arrived"], saved["wanted"]

    def save(self) -> CpuHotplugState:
        with self._lock:
            return CpuHotplugState(self._arrived, self._wanted)

    @property
    def _plugged(self) -> int:
        return sum(1 << index for index in self._sockets.plugged) if self._sockets is not None else 0
