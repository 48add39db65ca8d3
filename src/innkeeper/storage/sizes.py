"""Sizes of disks as people write and read them, with qemu-img's suffixes: powers of 1024."""

import re

from innkeeper.errors import ConfigError

SUFFIXES = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}
LARGEST = 2**63 - 512  # what a signed file offset holds, in whole sectors
FORM = re.compile(r"(\d+(?:\.\d+)?)([a-z]?)(?:i?b)?", re.IGNORECASE | re.ASCII)


def parse_size(text: str, what: str = "size") -> int:
    """The bytes that a text means.

    >>> parse_size("20G")
    21474836480
    >>> parse_size("1.5MiB")
    1572864
    >>> parse_size("512")
    512
    """
    found = FORM.fullmatch(text.strip())
    suffix = found[2].lower() if found else "?"
    if found is None or suffix not in SUFFIXES:
        raise ConfigError(f"{what} {text!r} is no number of bytes; write it like 512M, 20G or 1T")
    whole, _, decimals = found[1].partition(".")
    unit: int = 1024 ** SUFFIXES[suffix]
    parts: int = 10 ** len(decimals)
    size, rest = divmod(int(whole + decimals) * unit, parts)
    if rest:
        raise ConfigError(f"{what} {text!r} is no whole number of bytes")
    if size > LARGEST:
        raise ConfigError(f"{what} {text!r} is more than a disk can have, {LARGEST} bytes")
    return size


def describe_size(size: int) -> str:
    """A size in its largest unit, to three digits, as qemu-img shows it.

    >>> describe_size(21474836480)
    '20 GiB'
    >>> describe_size(200704)
    '196 KiB'
    >>> describe_size(0)
    '0 B'
    """
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    # The next unit begins where three digits end.
    power = max((index for index in range(len(units)) if size >= 1000 * 1024 ** (index - 1)), default=0) if size else 0
    return f"{size / 1024**power:.3g} {units[power]}"
