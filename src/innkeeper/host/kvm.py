"""The host's KVM, judged by what micro-guests did on it and not by whether /dev/kvm opens."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from innkeeper.host.finding import Finding, Status

NAME = "KVM"
DEVICE = Path("/dev/kvm")
# What a stock kernel needs of an engine, as the probe names it.
NEEDS = {
    "ring0_native": "kernel code at the processor's own speed",
    "syscall": "SYSCALL into the kernel",
    "paging_32bit": "paging outside long mode",
    "int3": "INT3 in the kernel",
    "cpuid_masking": "hiding CPU features from the guest",
}


def find_kvm(probe: Mapping[str, Any], device: Path = DEVICE) -> Finding:
    """Judges the result of `innkeeper._core.kvm_probe`."""
    if not probe["usable"]:
        return unusable(probe, device)
    missing = [sentence for key, sentence in NEEDS.items() if not probe.get(key)]
    backend = probe.get("backend") or "unknown"
    speed = f"{probe.get('ring0_mips', 0.0):.0f} million ring-0 instructions a second"
    if not missing:
        return Finding(
            name=NAME,
            status=Status.YES,
            summary=f"usable ({backend}), {speed}",
            consequence="guests run on it at the processor's own speed",
            facts=dict(probe),
        )
    return Finding(
        name=NAME,
        status=Status.PARTLY,
        summary=f"usable ({backend}), {speed}, but lacks {', '.join(missing)}",
        consequence="stock kernels run in software; --engine kvm is for guests that can do without these",
        advice="a host whose /dev/kvm is backed by VT-x or AMD-V (on a cloud: an instance with nested virtualization)",
        facts=dict(probe),
    )


def unusable(probe: Mapping[str, Any], device: Path) -> Finding:
    if not device.exists():
        advice = "load kvm_intel or kvm_amd; in a virtual machine, turn on nested virtualization on its host"
    elif not os.access(device, os.R_OK | os.W_OK):
        advice = f"join the group that owns {device} (on Debian: adduser YOU kvm) and log in again"
    else:
        advice = None
    return Finding(
        name=NAME,
        status=Status.NO,
        summary=str(probe.get("why") or "not usable"),
        consequence="guests run in software",
        advice=advice,
        facts=dict(probe),
    )
