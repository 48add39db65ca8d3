"""The live line of `--stats-interval`: how often a second the VMM stepped in, by kind, since the line before."""

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from innkeeper.cli.terminal import is_raw

INTERVAL_S = (0.1, 3600.0)
PAGE_FAULT = 14

COLUMNS = {
    "INSN": ("instructions",),
    "CR": ("control_register_writes",),
    "MSR": ("msr_reads", "msr_writes"),
    "I/O": ("port_reads", "port_writes", "mmio_reads", "mmio_writes"),
    "CLI/STI": ("interrupt_flag_changes",),
    "INVLPG": ("tlb_page_flushes",),
    "HLT": ("halts",),
    "CPUID": ("cpuids",),
    "EXC": ("other_exceptions",),
    "#PF": ("page_faults",),
    "TLB": ("tlb_fills",),
    "SMC": ("code_invalidations",),
    "IRQ": ("interrupts", "nmis"),
    "XLAT": ("blocks_translated",),
}
"""What the line shows, and the counters behind it (see `docs/reference/statistics.md`)."""

Statistics = Callable[[], Mapping[str, Any]]


def interval(text: str) -> float:
    """The argument of `--stats-interval`."""
    low, high = INTERVAL_S
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number") from None
    if not low <= seconds <= high:
        raise argparse.ArgumentTypeError(f"the interval is {seconds:g} s; it must be between {low:g} and {high:g}")
    return seconds


class LiveLine:
    """Turns one ledger after the other into lines. An engine's line lacks what that engine does not count."""

    def __init__(self, statistics: Statistics, now: Callable[[], float] = time.monotonic) -> None:
        self._statistics = statistics
        self._now = now
        self._start = self._before = now()
        self._counts = counts(statistics())

    def __call__(self) -> str:
        """What has happened since the last call."""
        now, counted = self._now(), counts(self._statistics())
        passed = max(now - self._before, 1e-9)
        rates = {name: (count - self._counts.get(name, 0)) / passed for name, count in counted.items()}
        self._before, self._counts = now, counted
        shown = [f"{now - self._start:7.1f} s"]
        for label, names in COLUMNS.items():
            if not rates.keys().isdisjoint(names):
                shown.append(f"{label} {compact(sum(rates.get(name, 0.0) for name in names)):>4}")
        return "  ".join(shown)


def counts(statistics: Mapping[str, Any]) -> dict[str, int]:
    """The plain counters of all vCPUs together, and the exceptions other than page faults."""
    total: dict[str, int] = {}
    for vcpu in statistics.get("vcpus", []):
        plain = {name: value for name, value in vcpu.items() if isinstance(value, int)}
        if "exceptions" in vcpu and plain:
            plain["other_exceptions"] = sum(n for vector, n in vcpu["exceptions"].items() if vector != PAGE_FAULT)
        for name, value in plain.items():
            total[name] = total.get(name, 0) + value
    if total.get("blocks_translated"):
        total.pop("instructions", None)  # those that were interpreted: says nothing about the guest's speed
    return total


def compact(rate: float) -> str:
    """At most four characters.

    >>> [compact(rate) for rate in (0, 0.2, 7, 999.4, 1234, 9960, 123456, 7.5e6, 2.2e12)]
    ['0', '<1', '7', '999', '1.2k', '10k', '123k', '7.5M', '2.2T']
    """
    if 0 < rate < 0.5:
        return "<1"
    for unit in ("", "k", "M", "G"):
        if rate < 999.5:
            return f"{rate:.1f}{unit}" if unit and rate < 9.95 else f"{rate:.0f}{unit}"
        rate /= 1000
    return f"{rate:.1f}T"


@contextmanager
def live_statistics(statistics: Statistics, interval_s: float | None) -> Iterator[None]:
    """While it lasts, a line on stderr each `interval_s`; none without one."""
    if interval_s is None:
        yield
        return
    ended = threading.Event()
    arguments = (LiveLine(statistics), interval_s, ended)
    thread = threading.Thread(target=print_lines, args=arguments, name="live-statistics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def print_lines(line: Callable[[], str], interval_s: float, ended: threading.Event) -> None:
    due = time.monotonic()
    while True:
        due = max(due + interval_s, time.monotonic())  # a line that came late makes no others hurry
        if ended.wait(due - time.monotonic()):
            return
        try:
            show(line())
        except OSError:  # nobody reads them any more
            return


def show(line: str) -> None:
    """On a raw terminal the guest's cursor may stand anywhere: the line gets one of its own."""
    sys.stderr.write(f"\r\n{line}\r\n" if is_raw() else f"{line}\n")
    sys.stderr.flush()
