"""Why a machine is in its state, in virsh's words and numbers, from what happened to it last.

The manager remembers that as long as it runs itself; what was before is unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from innkeeper.language import translate

if TYPE_CHECKING:
    from innkeeper.manager.service import Manager

UNKNOWN = "unknown", 0
REASONS = {
    ("running", "started", "booted"): ("booted", 1),
    ("running", "started", "restored"): ("restored", 3),
    ("running", "resumed", ""): ("unpaused", 5),
    ("running", "started", "the guest wakes"): ("event wakeup", 8),
    ("running", "rebooted", ""): ("booted", 1),
    ("paused", "suspended", ""): ("user", 1),
    ("shut off", "stopped", "the guest powered off"): ("shutdown", 1),
    ("shut off", "stopped", "the run was stopped from outside"): ("destroyed", 2),
    ("shut off", "stopped", "the guest's processor shut down by a triple fault"): ("crashed", 3),
    ("shut off", "stopped", "its process was killed"): ("crashed", 3),
    ("shut off", "stopped", "the machine was saved to a file"): ("saved", 5),
    ("shut off", "stopped", "the machine itself failed"): ("failed", 6),
}
"""By the state, what happened, and how; of nothing there, any."""


def reason(manager: Manager, name: str, state: str) -> tuple[str, int]:
    """A word, and its number in domstats."""
    event = manager.events.latest(name)
    if event is None:
        return UNKNOWN
    how = event["detail"].partition(": ")[0]
    found = REASONS.get((state, event["what"], how)) or REASONS.get((state, event["what"], ""))
    return found or UNKNOWN


def shown(manager: Manager, name: str, state: str) -> str:
    return f"{translate(state)} ({reason(manager, name, state)[0]})"
