"""What is in a machine's slots, from its start to its end, whatever board is around them; and how that changes meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from innkeeper.devices.pci import PciDevice
from innkeeper.errors import ConfigError, HostError
from innkeeper.platforms.pc_slots import FIRST_FREE

SLOTS = 30  # that a board has free
FIXED = "fixed"

logger = logging.getLogger(__name__)


class Plugged:
    """A device that can be taken out again, with what it has on the host."""

    slot: PciDevice | None = None
    """What the board sees of it; None once it was taken out."""
    pci_slot: int | None = None
    """The slot of PCI bus 0 that it is to be in; the first that is free."""
    document: str | None = None
    """What whoever plugged it in while the machine ran calls it."""

    @property
    def name(self) -> str:
        """By which it is known among all of a machine."""
        raise NotImplementedError

    def close(self) -> None:
        """Lets go of the host. Idempotent."""
        self.slot = None


class Slots(Protocol):
    """A board's."""

    def fill(self, index: int, device: PciDevice) -> None: ...
    def ask_for(self, index: int) -> None: ...


class HasSlots(Protocol):
    """A board."""

    @property
    def slots(self) -> Slots: ...


Board = TypeVar("Board", bound=HasSlots)
Place = PciDevice | Plugged | None
Layout = Sequence[str | None]
"""What is in each slot: the name of what may be taken out, `FIXED`, or nothing."""


def arranged(places: Iterable[Place], layout: Layout | None) -> list[Place]:
    """As they were in a machine of this layout, if there is one; what it does not know comes behind. Raises `ConfigError`."""
    left = [place for place in places if place is not None]
    if layout is None:
        return placed(left)
    found: list[Place] = []
    for name in layout:
        at = next((at for at, place in enumerate(left) if name == name_of(place)), None)
        found.append(left.pop(at) if at is not None else None)
    for index, place in enumerate(found):
        wanted = index_wanted(place)
        if wanted not in (None, index):
            slot, given = FIRST_FREE + index, FIRST_FREE + (wanted or 0)
            raise ConfigError(
                f"{name_of(place)} is to be in PCI slot {given}, and was in slot {slot} when the machine was saved; "
                "leave its address as it was"
            )
    return found + left


def placed(places: Iterable[Place]) -> list[Place]:
    """Those with a number where they are to be, the others around them in their order. Raises `ConfigError` for two in one slot."""
    found: list[Place] = []
    others: list[Place] = []
    for place in places:
        index = index_wanted(place)
        if index is None:
            others.append(place)
            continue
        found += [None] * (index + 1 - len(found))
        if (other := found[index]) is not None:
            raise ConfigError(
                f"{name_of(other)} and {name_of(place)} are both to be in PCI slot {FIRST_FREE + index}; give one of them another"
            )
        found[index] = place
    for place in others:
        index = found.index(None) if None in found else len(found)
        found[index : index + 1] = [place]
    return found


def index_wanted(place: Place) -> int | None:
    number = place.pci_slot if isinstance(place, Plugged) else None
    return None if number is None else number - FIRST_FREE


def name_of(place: Place) -> str | None:
    if isinstance(place, Plugged):
        return place.name
    return None if place is None else FIXED


class Backplane:
    """`platforms.Backplane`. Locks are taken in the order: this one's, the board's."""

    def __init__(self, fixed: Iterable[Place]) -> None:
        """In the order of the slots. What is `Plugged` may be taken out, and is closed here."""
        self._places: list[Place] = list(fixed)
        self._asked: set[int] = set()
        self._board: Slots | None = None
        self._changed = threading.Condition()
        self._closing: list[threading.Thread] = []
        self._closed = False

    # ---- boards ---------------------------------------------------------------------------------

    def build(self, make: Callable[[tuple[PciDevice | None, ...]], Board], *, wakes: bool) -> Board:
        """Builds a board around what is in the slots. What a guest was asked for is gone, unless it `wakes` and knows."""
        with self._changed:
            if not wakes:
                for index in sorted(self._asked):
                    self._release(index)
            board = make(tuple(device_of(place) for place in self._places))
            self._board = board.slots
            return board

    def disconnect(self) -> None:
        """The board is taken apart. Until there is another, slots change without one."""
        with self._changed:
            self._board = None

    def is_removable(self, index: int, /) -> bool:
        return index < len(self._places) and isinstance(self._places[index], Plugged)

    def ejected(self, index: int, /) -> None:
        with self._changed:
            self._release(index)

    # ---- changes --------------------------------------------------------------------------------

    def plug(self, item: Plugged) -> None:
        """Puts a device into its slot, or the first free one. Raises `HostError` if there is none; the device is then the caller's."""
        assert item.slot is not None  # noqa: S101 - it was just opened
        with self._changed:
            if self._closed:
                raise HostError("the machine has ended; nothing can be plugged in")
            index = self._slot_for(item)
            self._places += [None] * (index + 1 - len(self._places))
            self._places[index] = item
            try:
                if self._board is not None:
                    self._board.fill(index, item.slot)
            except BaseException:
                self._places[index] = None
                raise

    def ask_for(self, item: Plugged) -> None:
        """Asks the guest to let go of a device; without a board it is gone at once. Asking again does no harm."""
        with self._changed:
            index = self._find(item)
            if index is None:
                return
            self._asked.add(index)
            if self._board is not None:
                self._board.ask_for(index)
            else:
                self._release(index)

    def wait_until_gone(self, item: Plugged, patience_s: float) -> bool:
        """Whether the guest has let go of it within that time; then it has let go of the host as well."""
        with self._changed:
            gone = self._changed.wait_for(lambda: self._closed or self._find(item) is None, patience_s)
            gone = gone and not self._closed
            closing = list(self._closing)
        for thread in closing if gone else ():
            thread.join()
        return gone

    def layout(self) -> Layout:
        with self._changed:
            return [name_of(place) for place in self._places]

    def asked_before(self, indices: Iterable[int]) -> None:
        """The guest of a machine that is restored has these yet to let go of, as its board says."""
        with self._changed:
            self._asked = {index for index in indices if self.is_removable(index)}

    def contents(self) -> list[Plugged]:
        """What can be taken out, in the order of the slots."""
        with self._changed:
            return [place for place in self._places if isinstance(place, Plugged)]

    def index_of(self, item: Plugged) -> int | None:
        """Its slot, as `Surroundings.slots` counts; None if it is in none."""
        with self._changed:
            return self._find(item)

    def close(self) -> None:
        """Lets go of everything."""
        with self._changed:
            self._board, self._closed = None, True
            places, closing = self._places[:], list(self._closing)
            self._places.clear()
            self._changed.notify_all()
        for thread in closing:
            thread.join()
        for place in places:
            if isinstance(place, Plugged):
                place.close()

    def _slot_for(self, item: Plugged) -> int:
        wanted = index_wanted(item)
        free = [index for index in range(SLOTS) if index >= len(self._places) or self._places[index] is None]
        if not free:
            raise HostError(f"all {SLOTS} slots of the machine are taken; detach a device first")
        if wanted is not None and wanted not in free:
            raise HostError(
                f"PCI slot {FIRST_FREE + wanted} of the machine is taken; slot {FIRST_FREE + free[0]} is free"
            )
        return free[0] if wanted is None else wanted

    def _find(self, item: Plugged) -> int | None:
        return next((at for at, place in enumerate(self._places) if place is item), None)

    def _release(self, index: int) -> None:
        """Closed by another thread: a vCPU has no time to wait until a disk is flushed."""
        item, self._places[index] = self._places[index], None
        self._asked.discard(index)
        if isinstance(item, Plugged):
            self._closing = [thread for thread in self._closing if thread.is_alive()]
            self._closing.append(threading.Thread(target=close_or_log, args=(item,), name="unplug", daemon=True))
            self._closing[-1].start()
        self._changed.notify_all()


def device_of(place: Place) -> PciDevice | None:
    return place.slot if isinstance(place, Plugged) else place


def close_or_log(item: Plugged) -> None:
    try:
        item.close()
    except OSError as error:
        logger.warning("a device was taken out, and not all of it let go: %s", error)
