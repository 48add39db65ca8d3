"""What is in a machine's slots, from its start to its end, whatever board is around them; and how that changes meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from innkeeper.devices.pci import PciDevice
from innkeeper.errors import HostError

SLOTS = 30  # that a board has free

logger = logging.getLogger(__name__)


class Plugged:
    """A device that can be taken out again, with what it has on the host."""

    slot: PciDevice | None = None
    """What the board sees of it; None once it was taken out."""

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


class Backplane:
    """`platforms.Backplane`. Locks are taken in the order: this one's, the board's."""

    def __init__(self, fixed: Iterable[Place]) -> None:
        """In the order of the slots. What is `Plugged` may be taken out, and is closed here."""
        self._places: list[Place] = list(fixed)
        self._asked: set[int] = set()
        self._board: Slots | None = None
        self._changed = threading.Condition()
        self._closing: list[threading.Thread] = []
        self.changed = False
        """Something was plugged in or taken out."""

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
        """Puts a device into the first free slot. Raises `HostError` if there is none; the device is then the caller's."""
        assert item.slot is not None  # noqa: S101 - it was just opened
        with self._changed:
            index = next((at for at, place in enumerate(self._places) if place is None), len(self._places))
            if index >= SLOTS:
                raise HostError(f"all {SLOTS} slots of the machine are taken; detach a device first")
            if index == len(self._places):
                self._places.append(None)
            self._places[index], self.changed = item, True
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
            gone = self._changed.wait_for(lambda: self._find(item) is None, patience_s)
            closing = list(self._closing)
        for thread in closing if gone else ():
            thread.join()
        return gone

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
            self._board = None
            places, closing = self._places[:], list(self._closing)
            self._places.clear()
        for thread in closing:
            thread.join()
        for place in places:
            if isinstance(place, Plugged):
                place.close()

    def _find(self, item: Plugged) -> int | None:
        return next((at for at, place in enumerate(self._places) if place is item), None)

    def _release(self, index: int) -> None:
        """Closed by another thread: a vCPU has no time to wait until a disk is flushed."""
        item, self._places[index] = self._places[index], None
        self._asked.discard(index)
        self.changed = True
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
