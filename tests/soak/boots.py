"""Boot after boot of a Debian kernel to userspace, each in a process of its own; the first that is wrong ends it."""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from innkeeper.config import EngineChoice
from innkeeper.image import KernelImage, fetch_kernel

from .guests import build_guest, complaints
from .report import growth, say, spread

BOOTS = 200
LIMIT_S = 120
MEMORY_MIB = 512
GROWTH_LIMIT_MIB = 8.0
EVERY = 20  # boots between two lines of progress


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot: what was wrong with it, what it took."""

    complaints: list[str]
    seconds: float
    peak_mib: float


def soak_boots(arguments: argparse.Namespace, folder: Path) -> bool:
    kernel, initrd = fetch_kernel(), build_guest(folder)
    return all(
        boots(kernel, initrd, arguments.engine, vcpus=vcpus, count=arguments.count or BOOTS)
        for vcpus in arguments.vcpus or (1,)
    )


def boots(kernel: KernelImage, initrd: Path, engine: EngineChoice, *, vcpus: int, count: int) -> bool:
    done: list[Boot] = []
    for number in range(1, count + 1):
        boot = boot_once(kernel, initrd, engine, vcpus)
        if boot.complaints:
            say("boots", f"boot {number} with {vcpus} vCPUs FAILS: " + "\n  ".join(boot.complaints))
            return False
        done.append(boot)
        if number % EVERY == 0 or number == count:
            say("boots", f"{number} of {count} with {vcpus} vCPUs, the last in {boot.seconds:.2f} s")
    peaks = [boot.peak_mib for boot in done]
    say("boots", f"took {spread([boot.seconds for boot in done], 's')}")
    say("boots", f"peak memory {spread(peaks, 'MiB')}, growth {growth(peaks):+.1f} MiB")
    return growth(peaks) < GROWTH_LIMIT_MIB


def boot_once(kernel: KernelImage, initrd: Path, engine: EngineChoice, vcpus: int) -> Boot:
    command = [sys.executable, "-m", "innkeeper.cli", "run", "--engine", engine, "--no-reboot"]
    command += ["--kernel", str(kernel.vmlinuz), "--initrd", str(initrd), "--append", "console=ttyS0"]
    command += ["--memory", str(MEMORY_MIB), "--vcpus", str(vcpus), "--timeout", str(LIMIT_S)]
    started = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.read().decode(errors="replace")
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wrong = complaints(said, kernel, vcpus)
    if process.returncode != 0:
        wrong.append(f"inn ends with status {process.returncode}: {said[-500:]}")
    return Boot(wrong, time.monotonic() - started, used.ru_maxrss / 1024)
