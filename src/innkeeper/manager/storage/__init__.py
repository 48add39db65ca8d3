"""Storage pools, their volumes, and machines' disk snapshots: services for the manager's clients."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innkeeper.manager.storage.pools import Pools
    from innkeeper.manager.storage.resolve import resolve_volume
    from innkeeper.manager.storage.volumes import Volumes

__all__ = ["Pools", "Volumes", "resolve_volume"]

_HOMES = {  # imported when first asked for, as in the room above
    "Pools": "innkeeper.manager.storage.pools",
    "Volumes": "innkeeper.manager.storage.volumes",
    "resolve_volume": "innkeeper.manager.storage.resolve",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
