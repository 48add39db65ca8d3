"""Two looks at a machine's figures, and what it used between them.

`collect` is where figures come from, the manager; everything else is arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, field
from typing import TYPE_CHECKING, Any

from innkeeper.errors import InnkeeperError
from innkeeper.records import dataclass

if TYPE_CHECKING:
    from innkeeper.manager.service import Manager

SHUT_OFF = "shut off"
NS = 1_000_000_000
KIB = 1024
EXITS: Mapping[str, Sequence[str]] = {
    "devices": ("port_reads", "port_writes", "mmio_reads", "mmio_writes"),
    "apic": ("apic_accesses",),
    "interrupts": ("interrupts", "nmis"),
    "halts": ("halts",),
    "msr": ("msr_reads", "msr_writes"),
    "cpuid": ("cpuids",),
    "registers": ("control_register_writes", "debug_register_accesses"),
    "hypercalls": ("hypercalls",),
    "kicks": ("kicks",),
}
"""Why the engine leaves a guest's code for ours, and the engine's counters of it (docs/reference/statistics.md)."""


@dataclass(frozen=True, slots=True)
class Look:
    """A machine at one moment. Counters count from its start."""

    name: str
    state: str
    at_ns: int
    process: int | None = None
    vcpus: int = 0
    vcpus_maximum: int = 0
    guest_kib: int = 0
    resident_kib: int = 0
    cpu_ns: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    exits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rates:
    """A machine between two moments: bytes and exits a second, and the share of one host processor."""

    name: str
    state: str
    process: int | None
    vcpus: int
    vcpus_maximum: int
    cpu_percent: float
    guest_kib: int
    resident_kib: int
    read: float
    written: float
    received: float
    sent: float
    exits: float
    exits_by_kind: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def collect(manager: Manager) -> list[Look]:
    """All machines, now. One that ends meanwhile, or does not answer, has no figures."""
    looks = []
    for listed in manager.domains.all():
        name, state, process = listed["name"], listed["state"], listed["id"]
        if state == SHUT_OFF:
            looks.append(Look(name, state, time.monotonic_ns()))
            continue
        try:
            looks.append(look_of(name, state, process, manager.hardware.figures(name)))
        except InnkeeperError:
            looks.append(Look(name, state, time.monotonic_ns(), process))
    return looks


def look_of(name: str, state: str, process: int | None, figures: Mapping[str, Any]) -> Look:
    """From what `innkeeper.machine.figures` says."""
    counters, disks, cards = figures["exits"], figures["disks"], figures["cards"]
    return Look(
        name=name,
        state=state,
        at_ns=time.monotonic_ns(),
        process=process,
        vcpus=len(figures["vcpus"]),
        vcpus_maximum=figures["vcpus_maximum"],
        guest_kib=figures["memory"]["current_kib"],
        resident_kib=figures["memory"]["resident_kib"],
        cpu_ns=figures["cpu_time_ns"],
        read_bytes=sum(disk["rd_bytes"] for disk in disks),
        written_bytes=sum(disk["wr_bytes"] for disk in disks),
        received_bytes=sum(card["rx_bytes"] for card in cards),
        sent_bytes=sum(card["tx_bytes"] for card in cards),
        exits={kind: sum(counters.get(name, 0) for name in names) for kind, names in EXITS.items()},
    )


def rates_of(before: Look | None, now: Look) -> Rates:
    """Zeroes for a machine that was not there before, or that is another one by now."""
    if before is None or before.process != now.process or now.at_ns <= before.at_ns:
        before = now
    seconds = (now.at_ns - before.at_ns) / NS

    def rate(then: int, later: int) -> float:
        return max(later - then, 0) / seconds if seconds > 0 else 0.0  # a counter starts anew with a reset

    by_kind = {kind: rate(before.exits.get(kind, 0), count) for kind, count in now.exits.items()}
    return Rates(
        name=now.name,
        state=now.state,
        process=now.process,
        vcpus=now.vcpus,
        vcpus_maximum=now.vcpus_maximum,
        cpu_percent=100 * rate(before.cpu_ns, now.cpu_ns) / NS,
        guest_kib=now.guest_kib,
        resident_kib=now.resident_kib,
        read=rate(before.read_bytes, now.read_bytes),
        written=rate(before.written_bytes, now.written_bytes),
        received=rate(before.received_bytes, now.received_bytes),
        sent=rate(before.sent_bytes, now.sent_bytes),
        exits=sum(by_kind.values()),
        exits_by_kind=by_kind,
    )


def between(before: Iterable[Look], now: Iterable[Look]) -> list[Rates]:
    known = {look.name: look for look in before}
    return [rates_of(known.get(look.name), look) for look in now]
