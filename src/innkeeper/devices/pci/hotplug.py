"""Hot plug on a PCI bus: registers by which ACPI's methods learn what was put into slots, and let go of what shall go.

Spec: QEMU's docs/specs/acpi_pci_hotplug; ACPI 6.5, 5.6.4 and 6.3. Offsets, each a word of 32 bits with one bit a slot: 0 filled since
the last read, 4 asked back, 8 ejects what is there. Left out: further buses, and the register that tells what may go: slots whose
devices stay have no _EJ0.
"""

from collections.abc import Callable
from threading import Lock

from innkeeper.bus import Fields, State
from innkeeper.bus.state import number
from innkeeper.records import dataclass

UP, DOWN, EJECT = 0, 4, 8
REGISTER_BYTES = 12
SLOTS = 32
STATE = Fields(up=number((1 << SLOTS) - 1), down=number((1 << SLOTS) - 1))


@dataclass(frozen=True, slots=True)
class HotplugState:
    """What the guest has yet to hear of."""

    up: int = 0
    down: int = 0


def _nothing() -> None: ...
def _no_slot(_slot: int) -> None: ...


class PciHotplug:
    """`notify` makes the guest look; `eject` is called when it lets go of a slot, from a vCPU's thread."""

    def __init__(
        self, notify: Callable[[], None], eject: Callable[[int], None], state: HotplugState | None = None
    ) -> None:
        self._notify = notify
        self._eject = eject
        self._lock = Lock()
        state = state or HotplugState()
        self._up, self._down = state.up, state.down
        if self._up | self._down:
            notify()

    def read(self, offset: int, size: int, /) -> int:
        with self._lock:
            image = self._up | self._down << 32
            if offset == UP and size == 4:
                self._up = 0
        return image >> (8 * offset) & (1 << (8 * size)) - 1

    def write(self, offset: int, size: int, value: int, /) -> None:
        if offset != EJECT or size != 4:
            return
        for slot in range(SLOTS):
            if value >> slot & 1:
                self._eject(slot)

    def fill(self, slot: int) -> None:
        """Something is in the slot now."""
        with self._lock:
            self._up |= 1 << slot
            self._down &= ~(1 << slot)
        self._notify()

    def ask(self, slot: int) -> None:
        """What is in the slot shall go."""
        with self._lock:
            self._down |= 1 << slot
        self._notify()

    def asked(self) -> list[int]:
        """The slots whose contents shall go."""
        with self._lock:
            return [slot for slot in range(SLOTS) if self._down >> slot & 1]

    def settle(self, slot: int) -> bool:
        """The guest has let go; tells whether it was asked to."""
        with self._lock:
            asked = bool(self._down >> slot & 1)
            self._up &= ~(1 << slot)
            self._down &= ~(1 << slot)
        return asked

    def disconnect(self) -> None:
        """The board is taken apart, and what it calls no longer held."""
        self._notify = _nothing
        self._eject = _no_slot

    def state(self) -> State:
        with self._lock:
            return STATE.of(self)

    def restore(self, state: State, /) -> None:
        with self._lock:
            STATE.put(self, state)

    def save(self) -> HotplugState:
        with self._lock:
            return HotplugState(self._up, self._down)
