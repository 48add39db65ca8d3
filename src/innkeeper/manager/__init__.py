"""Machines that are kept: their definitions, where they are stored, and what became of those that were started."""

from innkeeper.manager.definition import Definition
from innkeeper.manager.domain_xml import read_xml, unknown_parts, write_xml
from innkeeper.manager.store import Store

__all__ = ["Definition", "Store", "read_xml", "unknown_parts", "write_xml"]
