"""Sizes as virsh's commands take and show them.

Spec: virsh(1), "NOTES": scaled integers, whose suffixes say by themselves whether they count in 1000 or in 1024.
"""

import re

from innkeeper.errors import ConfigError

LETTERS = "kmgtpe"
FORM = re.compile(r"([+-]?\d+)\s*(|b|bytes?|[kmgtpe](?:i?b)?)", re.IGNORECASE | re.ASCII)
LARGEST = 2**63 - 512  # what a signed file offset holds, in whole sectors
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def scaled(text: str, what: str, *, plain: int = 1) -> int:
    """The bytes that a text means; a number without a suffix counts `plain` bytes.

    >>> scaled("10G", "capacity"), scaled("10GB", "capacity"), scaled("4kib", "capacity"), scaled("-1", "capacity")
    (10737418240, 10000000000, 4096, -1)
    """
    found = FORM.fullmatch(text.strip())
    if found is None:
        shown = text if len(text) <= 40 else text[:37] + "..."
        raise ConfigError(f"{what} is {shown!r}; it must be a whole number of bytes, or one with a suffix as in 10G")
    unit = found[2].lower()
    power = LETTERS.find(unit[:1]) + 1 if unit and unit[0] != "b" else 0
    size: int = int(found[1]) * ((1000 if len(unit) == 2 else 1024) ** power if unit else plain)
    if abs(size) > LARGEST:
        raise ConfigError(f"{what} is {text.strip()}; the most is {LARGEST} bytes")
    return size


def size(text: str, what: str, *, plain: int = 1) -> int:
    """One that cannot be negative."""
    found = scaled(text, what, plain=plain)
    if found < 0:
        raise ConfigError(f"{what} is {text.strip()}; it cannot be negative")
    return found


def shown(size: int, *, digits: int = 2) -> str:
    """A size in its largest unit.

    >>> shown(0), shown(1500000), shown(100 << 30)
    ('0.00 B', '1.43 MiB', '100.00 GiB')
    """
    power = min(max(size.bit_length() - 1, 0) // 10, len(UNITS) - 1)
    return f"{size / 1024**power:.{digits}f} {UNITS[power]}"
