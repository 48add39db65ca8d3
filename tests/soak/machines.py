"""Machine after machine in one process: whatever one has taken is given back at its end."""

import argparse
import gc
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from innkeeper import Machine, MachineConfig, MemoryConsole, OutcomeKind
from innkeeper.image import KernelImage, fetch_kernel

from .guests import build_guest, complaints
from .report import growth, say, spread

MACHINES = 60
LIMIT_S = 120
MEMORY_MIB = 256
GROWTH_LIMIT_MIB = 4.0
EVERY = 10


@dataclass(frozen=True, slots=True)
class Holdings:
    """What this process holds."""

    resident_mib: float
    mappings: int
    descriptors: int
    threads: int


def holdings() -> Holdings:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Holdings(
        resident_mib=pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20),
        mappings=len(Path("/proc/self/maps").read_text().splitlines()),
        descriptors=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        threads=threading.active_count(),
    )


def one_after_the_other(config: MachineConfig, count: int) -> Iterator[tuple[str, Holdings]]:
    """What each machine's guest said, and what this process holds after it. Raises `AssertionError` at a bad end."""
    for _ in range(count):
        console = MemoryConsole()
        with Machine(config, console=console) as machine:
            machine.start()
            outcome = machine.wait()
        assert outcome.kind is OutcomeKind.POWERED_OFF, f"{outcome}: {console.text[-500:]}"
        said = console.text
        del machine, console
        yield said, holdings()


def soak_machines(arguments: argparse.Namespace, folder: Path) -> bool:
    kernel, initrd = fetch_kernel(), build_guest(folder)
    return all(machines(arguments, kernel, initrd, vcpus) for vcpus in arguments.vcpus or (1, 2))


def machines(arguments: argparse.Namespace, kernel: KernelImage, initrd: Path, vcpus: int) -> bool:
    config = MachineConfig(
        kernel=kernel.vmlinuz,
        initrd=initrd,
        append="console=ttyS0",
        memory_mib=MEMORY_MIB,
        vcpus=vcpus,
        engine=arguments.engine,
        timeout_s=LIMIT_S,
        no_reboot=True,
    )
    count = arguments.count or MACHINES
    held = []
    for number, (said, now) in enumerate(one_after_the_other(config, count), 1):
        if wrong := complaints(said, kernel, vcpus):
            say("machines", f"machine {number} with {vcpus} vCPUs FAILS: " + "\n  ".join(wrong))
            return False
        held.append(now)
        if number % EVERY == 0 or number == count:
            say("machines", f"{number} of {count} with {vcpus} vCPUs: {now.resident_mib:.1f} MiB, {now}")
    return is_flat(held)


def is_flat(held: list[Holdings]) -> bool:
    resident = [now.resident_mib for now in held]
    say("machines", f"resident {spread(resident, 'MiB')}, growth {growth(resident):+.1f} MiB")
    lost = [
        f"{name} grow by {growth([getattr(now, name) for now in held]):+.0f}"
        for name in ("mappings", "descriptors", "threads")
        if growth([getattr(now, name) for now in held]) > 0
    ]
    if growth(resident) >= GROWTH_LIMIT_MIB:
        lost.append("memory is not given back")
    if lost:
        say("machines", "FAILS: " + ", ".join(lost))
    return not lost
