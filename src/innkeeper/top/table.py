"""Rates as rows of words: what columns there are, and how they are sorted, filtered and spelled."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from innkeeper.records import dataclass
from innkeeper.top.rates import SHUT_OFF, Rates

KIB = 1024


@dataclass(frozen=True, slots=True)
class Column:
    """`key` is what is sorted by; numbers are sorted from the largest down."""

    head: str
    key: Callable[[Rates], Any]
    spell: Callable[[Rates], str]

    @property
    def is_number(self) -> bool:
        return self.head not in ("Name", "State")


def size(count: float) -> str:
    """In the largest unit that leaves a number of at least 1.

    >>> size(0), size(1536), size(5 << 30)
    ('0', '1.5K', '5.0G')
    """
    for unit in ("", "K", "M", "G"):
        if count < KIB:
            return f"{count:.1f}{unit}" if unit else f"{count:.0f}"
        count /= KIB
    return f"{count:.1f}T"


def vcpus(one: Rates) -> str:
    """How many there are, and of how many that may be."""
    return str(one.vcpus) if one.vcpus_maximum <= one.vcpus else f"{one.vcpus}/{one.vcpus_maximum}"


COLUMNS = (
    Column("Name", lambda one: one.name, lambda one: one.name),
    Column("State", lambda one: one.state, lambda one: one.state),
    Column("vCPUs", lambda one: one.vcpus, vcpus),
    Column("CPU %", lambda one: one.cpu_percent, lambda one: f"{one.cpu_percent:.1f}"),
    Column("Memory", lambda one: one.guest_kib, lambda one: size(one.guest_kib * KIB)),
    Column("Resident", lambda one: one.resident_kib, lambda one: size(one.resident_kib * KIB)),
    Column("Read/s", lambda one: one.read, lambda one: size(one.read)),
    Column("Write/s", lambda one: one.written, lambda one: size(one.written)),
    Column("Rx/s", lambda one: one.received, lambda one: size(one.received)),
    Column("Tx/s", lambda one: one.sent, lambda one: size(one.sent)),
    Column("Exits/s", lambda one: one.exits, lambda one: f"{one.exits:.0f}"),
)
BY_WORD = {
    "name": 0,
    "state": 1,
    "cpu": 3,
    "memory": 4,
    "resident": 5,
    "read": 6,
    "write": 7,
    "rx": 8,
    "tx": 9,
    "exits": 10,
}
DEFAULT_SORT = "cpu"


def arranged(
    found: Iterable[Rates], column: int, *, words: str = "", upwards: bool = False, idle: bool = True
) -> list[Rates]:
    """Sorted by a column, those with the same value by name; only those whose name has the words in it."""
    wanted = [one for one in found if words.lower() in one.name.lower() and (idle or one.state != SHUT_OFF)]
    wanted.sort(key=lambda one: one.name)
    wanted.sort(key=COLUMNS[column].key, reverse=COLUMNS[column].is_number != upwards)
    return wanted


def cells(one: Rates) -> list[str]:
    """Nothing is used by what does not run."""
    return [column.spell(one) if one.state != SHUT_OFF or not column.is_number else "-" for column in COLUMNS]


def exits(one: Rates) -> str:
    """By kind, the most frequent first.

    >>> from innkeeper.top.rates import Look, rates_of
    >>> exits(rates_of(None, Look("web", "running", 0)))
    'none'
    """
    busy = sorted(((count, kind) for kind, count in one.exits_by_kind.items() if count >= 0.5), reverse=True)
    return "  ".join(f"{kind} {count:.0f}" for count, kind in busy) or "none"


def as_text(found: Sequence[Rates]) -> str:
    """A table for files and pipes, with each machine's exits by kind at the end of its line."""
    rows = [[column.head for column in COLUMNS], *(cells(one) for one in found)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    lines = ["  ".join(adjusted(row, widths)) for row in rows]
    tails = ["by kind", *(exits(one) if one.state != SHUT_OFF else "" for one in found)]
    return "".join(f"{line}  {tail}".rstrip() + "\n" for line, tail in zip(lines, tails, strict=True))


def adjusted(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if column.is_number else cell.ljust(width)
        for cell, width, column in zip(row, widths, COLUMNS, strict=True)
    ]
