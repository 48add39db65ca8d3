"""Machines that are kept: their definitions, where they are stored, and what became of those that were started.

`connect()` reaches the manager's daemon, which does the work; in this process only what it answers is seen.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from innkeeper.manager.client import connect

if TYPE_CHECKING:
    from innkeeper.manager.definition import Definition
    from innkeeper.manager.domain_xml import read_xml, unknown_parts, write_xml
    from innkeeper.manager.store import Store

__all__ = ["Definition", "Store", "connect", "read_xml", "unknown_parts", "write_xml"]

_HOMES = {  # imported when first asked for: commands that only call the daemon start faster without them
    "Definition": "innkeeper.manager.definition",
    "Store": "innkeeper.manager.store",
    "read_xml": "innkeeper.manager.domain_xml",
    "unknown_parts": "innkeeper.manager.domain_xml",
    "write_xml": "innkeeper.manager.domain_xml",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
