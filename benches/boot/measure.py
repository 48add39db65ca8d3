"""One boot, measured from outside: when the guest reached userspace, when it was over, what it took."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MARKER = b"INNKEEPER-USERSPACE"
LIMIT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """What is booted, the same for everyone."""

    kernel: Path
    initrd: Path
    memory_mib: int
    append: str = "console=ttyS0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """Seconds since the process was started, and its resources."""

    userspace_s: float
    ended_s: float
    cpu_s: float
    beside_guest_mib: float  # resident when userspace was reached, less the guest's own memory


@dataclass(slots=True)
class Measured:
    """One engine of ours: a boot, its ledger and the start of a tiny guest for each turn."""

    boots: list[Boot] = field(default_factory=list)
    ledgers: list[dict[str, Any]] = field(default_factory=list)
    starts_s: list[float] = field(default_factory=list)


class BenchError(Exception):
    """A boot that did not do what it should have; nothing was measured."""


def innkeeper_command(guest: Guest, engine: str, stats: Path) -> list[str]:
    inn = [sys.executable, "-m", "innkeeper.cli", "run", "--engine", engine, "--no-reboot"]
    files = ["--kernel", str(guest.kernel), "--initrd", str(guest.initrd), "--stats", str(stats)]
    return [*inn, *files, "--append", guest.append, "--memory", str(guest.memory_mib), "--timeout", str(LIMIT_S)]


def qemu_command(guest: Guest) -> list[str]:
    machine = ["qemu-system-x86_64", "-accel", "tcg", "-m", str(guest.memory_mib), "-no-reboot"]
    files = ["-kernel", str(guest.kernel), "-initrd", str(guest.initrd), "-append", guest.append]
    return [*machine, "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", *files]


def boot(command: list[str], memory_mib: int) -> Boot:
    """Runs it to its end. Raises `BenchError` unless the guest reached userspace and powered off."""
    started = time.monotonic()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = bytearray()
    userspace: float | None = None
    beside = 0.0
    with process.stdout, process.stderr:
        while data := process.stdout.read(65536):
            said += data
            if userspace is None and MARKER in said:
                userspace = time.monotonic() - started
                beside = beside_guest_mib(process.pid, memory_mib)
        complaint = process.stderr.read().decode(errors="replace").strip()
    _, status, used = os.wait4(process.pid, 0)
    ended = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if userspace is None or process.returncode != 0:
        last = bytes(said[-300:]).decode(errors="replace")
        raise BenchError(f"{command[0]} ended with {process.returncode}: {complaint}; the guest's last words: {last}")
    cpu = used.ru_utime + used.ru_stime
    return Boot(userspace_s=userspace, ended_s=ended, cpu_s=cpu, beside_guest_mib=beside)


def beside_guest_mib(pid: int, memory_mib: int) -> float:
    """Resident memory outside the mapping that is the guest's RAM: the one that is big enough for it, or nearly
    (a board has holes).
    """
    kib, in_guest = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "Rss" and not in_guest:
            kib += int(value.split()[0])
        elif "-" in line.split()[0]:
            start, _, end = line.split()[0].partition("-")
            in_guest = int(end, 16) - int(start, 16) >= (memory_mib << 20) * 7 // 8
    return kib / 1024


def first_output_s(image: Path, engine: str) -> float:
    """Seconds from starting `inn run` on a guest that speaks at once, to its first byte."""
    command = [sys.executable, "-m", "innkeeper.cli", "run", "--engine", engine, "--kernel", str(image)]
    started = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        assert run.stdout is not None
        if not run.stdout.read(1):
            raise BenchError("the tiny guest said nothing")
        return time.monotonic() - started
