"""A machine's life: built from a configuration, started, reset, ended."""

from typing import TYPE_CHECKING

from innkeeper.lazy import lazily

if TYPE_CHECKING:
    from innkeeper.machine.machine import Machine
    from innkeeper.machine.outcome import Outcome, OutcomeKind

__all__ = ["Machine", "Outcome", "OutcomeKind"]

__getattr__ = lazily(
    __name__,
    {
        "Machine": "innkeeper.machine.machine",
        "Outcome": "innkeeper.machine.outcome",
        "OutcomeKind": "innkeeper.machine.outcome",
    },
)
