"""The host's processor: what it is, and which of its instruction sets guests can be given."""

import os
from collections.abc import Mapping
from pathlib import Path

from innkeeper.host.finding import Finding, Status

CPUINFO = Path("/proc/cpuinfo")


def find_processor(features: Mapping[str, bool], cpuinfo: Path = CPUINFO) -> Finding:
    """`features` is the answer of `innkeeper._core.host_features`."""
    usable = len(os.sched_getaffinity(0))
    present = sorted(name for name, there in features.items() if there)
    absent = sorted(name for name, there in features.items() if not there)
    return Finding(
        name="processor",
        status=Status.PARTLY if absent else Status.YES,
        summary=f"{model(cpuinfo)}, {usable} usable",
        consequence=f"the software engines can give guests {', '.join(present) or 'the base instruction set'}",
        advice=f"a processor that has {', '.join(absent)}" if absent else None,
        facts={"model": model(cpuinfo), "usable": usable, "features": dict(features)},
    )


def model(cpuinfo: Path) -> str:
    for line in cpuinfo.read_text().splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == "model name":
            return value.strip()
    return "unnamed processor"
