"""The slots of PCI bus 0 that devices may be put into by number."""

from innkeeper.errors import ConfigError

FIRST, LAST = 2, 31  # the board's own bridges are in those before


def require_slot(slot: int | None, what: str) -> None:
    """Raises `ConfigError` unless there is such a slot, or it is left open."""
    if slot is not None and not FIRST <= slot <= LAST:
        raise ConfigError(f"{what} is in PCI slot {slot}; it must be between {FIRST} and {LAST}")
