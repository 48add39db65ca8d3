"""Guest-physical memory: the bytes, and how tables are translated.

So far only the bytes. The shadow and nested models of translation come with their own issue.
"""

from innkeeper.memory.guest import FlatMemory, GuestMemory, Ram, Range
from innkeeper.memory.paging import translate

__all__ = ["FlatMemory", "GuestMemory", "Ram", "Range", "translate"]
