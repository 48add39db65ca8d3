"""Machines that are kept: their definitions, where they are stored, and what became of those that were started.

`connect()` reaches the manager's daemon, which does the work; in this process only what it answers is seen.
"""

from typing import TYPE_CHECKING

from innkeeper.lazy import lazily
from innkeeper.manager.client import connect

if TYPE_CHECKING:
    from innkeeper.manager.definition import Definition
    from innkeeper.manager.domain_xml import read_xml, unknown_parts, write_xml
    from innkeeper.manager.store import Store

__all__ = ["Definition", "Store", "connect", "read_xml", "unknown_parts", "write_xml"]

__getattr__ = lazily(
    __name__,
    {
        "Definition": "innkeeper.manager.definition",
        "Store": "innkeeper.manager.store",
        "read_xml": "innkeeper.manager.domain_xml",
        "unknown_parts": "innkeeper.manager.domain_xml",
        "write_xml": "innkeeper.manager.domain_xml",
    },
)
