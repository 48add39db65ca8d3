"""A machine's life: built from a configuration, started, reset, ended."""

from innkeeper.machine.machine import Machine
from innkeeper.machine.outcome import Outcome, OutcomeKind

__all__ = ["Machine", "Outcome", "OutcomeKind"]
