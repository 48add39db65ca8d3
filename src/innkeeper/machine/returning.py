"""The part of a `Machine` that knows whether another one follows it, as that of what was installed follows an installer's."""

from __future__ import annotations

from collections.abc import Collection

from innkeeper.machine.happenings import Happenings
from innkeeper.machine.names import Registration
from innkeeper.machine.outcome import Outcome, OutcomeKind

IN_SHUTDOWN = "in shutdown"


class Returning:
    """What it uses is its machine's."""

    happenings: Happenings
    _outcome: Outcome | None
    _stop_asked: bool
    registration: Registration | None = None
    """Of its name, where whoever runs it keeps that from one machine to the next."""
    comes_back_after: Collection[OutcomeKind] = ()
    """How it ends if another one is to follow."""

    @property
    def comes_back(self) -> bool:
        """Whether it has ended in such a way, and nobody has stopped it."""
        return self._outcome is not None and self._outcome.kind in self.comes_back_after and not self._stop_asked

    def _tell_of_end(self) -> None:
        if self.comes_back:
            self.happenings.publish("rebooted", str(self._outcome))
        else:
            self.happenings.publish("stopped", str(self._outcome), state=IN_SHUTDOWN)
