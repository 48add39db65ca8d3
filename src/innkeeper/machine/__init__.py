"""A machine's life: built from a configuration, started, reset, ended."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innkeeper.machine.machine import Machine
    from innkeeper.machine.outcome import Outcome, OutcomeKind

__all__ = ["Machine", "Outcome", "OutcomeKind"]

_HOMES = {  # imported when first asked for: names and control sockets of machines need none of it
    "Machine": "innkeeper.machine.machine",
    "Outcome": "innkeeper.machine.outcome",
    "OutcomeKind": "innkeeper.machine.outcome",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
