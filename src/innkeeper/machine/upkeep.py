"""A running machine's place among its user's running machines, made again when somebody has cleaned up there.

The folder may be in /run/user, which goes with its user's last session, or in /tmp, which has cleaners. The machine goes on, and is found again
as soon as there can be a folder. What is outside of it, such as sockets that its configuration names, is not looked after.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from innkeeper.errors import HostError

LOOK_S = 2.0

Renew = Callable[[], None]
"""Makes again what is gone, and does nothing to what is there. Raises `HostError` if it cannot."""

logger = logging.getLogger(__name__)


class Upkeep:
    """Looks now and then, from `start` to `close`, in a thread of its own."""

    def __init__(self, renewals: Sequence[Renew]) -> None:
        """In the order in which they depend on each other."""
        self._renewals = renewals
        self._closed = threading.Event()
        self._complained = False
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(LOOK_S):
            try:
                for renew in self._renewals:
                    renew()
                self._complained = False
            except HostError as error:  # until there is a place again
                if not self._complained:
                    logger.warning("nobody can reach this machine for now: %s", error)
                self._complained = True
