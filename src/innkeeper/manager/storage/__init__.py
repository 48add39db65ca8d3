"""Storage pools, their volumes, and machines' disk snapshots: services for the manager's clients."""

from typing import TYPE_CHECKING

from innkeeper.lazy import lazily

if TYPE_CHECKING:
    from innkeeper.manager.storage.pools import Pools
    from innkeeper.manager.storage.resolve import resolve_volume
    from innkeeper.manager.storage.volumes import Volumes

__all__ = ["Pools", "Volumes", "resolve_volume"]

__getattr__ = lazily(
    __name__,
    {
        "Pools": "innkeeper.manager.storage.pools",
        "Volumes": "innkeeper.manager.storage.volumes",
        "resolve_volume": "innkeeper.manager.storage.resolve",
    },
)
