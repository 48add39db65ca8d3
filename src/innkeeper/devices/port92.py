"""System control port A at port 92h: the fast ways to A20 and to a reset.

Spec: IBM PS/2 Hardware Interface Technical Reference, "System Control Port A". Left out: the A20 line itself, which is always on; the
bit is remembered.
"""

from collections.abc import Callable

from innkeeper.bus import Fields, State
from innkeeper.bus.state import number

RESET, A20 = 1 << 0, 1 << 1
STATE = Fields(value=number(RESET | A20))


class Port92:
    """One register. `reset` is called when bit 0 rises."""

    def __init__(self, reset: Callable[[], None]) -> None:
        self._reset = reset
        self._value = A20

    def read(self, _offset: int, _size: int, /) -> int:
        return self._value

    def write(self, _offset: int, _size: int, value: int, /) -> None:
        rises = value & ~self._value & RESET
        self._value = value & (A20 | RESET)
        if rises:
            self._reset()

    def state(self) -> State:
        return STATE.of(self)

    def restore(self, state: State, /) -> None:
        STATE.put(self, state)
