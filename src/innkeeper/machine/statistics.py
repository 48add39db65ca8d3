"""The ledger of a run, as `--stats` writes it: what the guest executed, and why the VMM had to step in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from innkeeper.errors import HostError

VERSION = 1


def check_writable(path: Path, what: str = "statistics") -> None:
    """Raises `HostError` now rather than when the run is over."""
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise HostError(f"cannot write {what} to {path}: {(error.strerror or str(error)).lower()}") from error


def write(path: Path, statistics: Mapping[str, Any], what: str = "statistics") -> None:
    try:
        path.write_text(json.dumps(statistics, indent=2) + "\n")
    except OSError as error:
        raise HostError(f"cannot write {what} to {path}: {(error.strerror or str(error)).lower()}") from error


def merge(ledgers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Adds ledgers up, number by number: the boards of one run, before and after each reset.

    >>> merge([{"a": 1, "ports": {"in 0x71": 2}}, {"a": 2, "ports": {"in 0x71": 3}}])
    {'a': 3, 'ports': {'in 0x71': 5}}
    """
    total: dict[str, Any] = {}
    for ledger in ledgers:
        for name, value in ledger.items():
            total[name] = _add(total[name], value) if name in total else value
    return total


def _add(first: Any, second: Any) -> Any:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return merge((first, second))
    if isinstance(first, list) and isinstance(second, list):
        return [_add(a, b) for a, b in zip(first, second, strict=True)]
    return first + second if isinstance(first, int | float) and not isinstance(first, bool) else second


def report(ledger: Mapping[str, Any], seconds: Mapping[str, float], **facts: Any) -> dict[str, Any]:
    """Everything about a run in one JSON object."""
    vcpus = ledger.get("vcpus", [])
    instructions = sum(vcpu.get("instructions", 0) for vcpu in vcpus)
    ran = seconds.get("ended", 0.0) - seconds.get("started", 0.0)
    return {
        "version": VERSION,
        **facts,
        "seconds": {phase: round(when, 6) for phase, when in seconds.items()},
        "instructions": instructions,
        "mips": round(instructions / ran / 1e6, 3) if ran > 0 else 0.0,
        **ledger,
    }
