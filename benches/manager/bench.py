"""How long commands of the manager take, and what it costs while machines idle: `python benches/manager/bench.py`.

With its daemon running: `inn list` and `inn start` of 50 defined machines, 20 of which run an idle Linux in the end; the daemon's processor time meanwhile; what importing each
verb costs. Everything happens in a folder of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from innkeeper.cli import VERBS
from innkeeper.machine.names import process_of, running

DEFINED, RUNNING = 50, 20
MEMORY_MIB = 96
XML = """<domain type='qemu'><name>m{number:02}</name><memory unit='MiB'>{memory}</memory>
<os><type>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd><cmdline>quiet console=ttyS0</cmdline></os></domain>"""
INIT = "#!/bin/sh\nexec sleep 100000\n"
SETTLE_S, IDLE_S = 20.0, 30.0
LIST_BAR_MS, START_BAR_MS, IMPORT_BAR_MS, DAEMON_BAR = 60.0, 250.0, 120.0, 0.01
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--append", type=Path, metavar="PAGE.md", help="add the result to that page")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="inn-bench-") as folder:
        text = page(measure(Path(folder), arguments.repeats))
    print(text, end="")
    if arguments.append is not None:
        with arguments.append.open("a") as file:
            file.write("\n" + text)
    return 0


def measure(folder: Path, repeats: int) -> list[tuple[str, str, str]]:
    """What was measured, how much it is, and the bar."""
    (folder / "run").mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"], os.environ["XDG_STATE_HOME"] = str(folder / "run"), str(folder / "state")
    names = define(folder)
    try:
        rows: list[tuple[str, float, float | None]]
        rows = [("`inn list --all`, 50 machines", repeated(repeats, lambda: inn("list", "--all")), LIST_BAR_MS)]
        rows.append(
            ("`inn start`, until it returns", median(start_alone(names[-1]) for _ in range(repeats)), START_BAR_MS)
        )
        starts = [timed_ms(partial(inn, "start", name)) for name in names[:RUNNING]]
        rows.append((f"the same, one after the other until {RUNNING} run, while others boot", median(starts), None))
        time.sleep(SETTLE_S)
        rows.append((f"`inn list` while {RUNNING} machines idle", repeated(repeats, lambda: inn("list")), LIST_BAR_MS))
        shown = [(what, f"{ms:.0f} ms", f"{bar:.0f} ms" if bar else "") for what, ms, bar in rows]
        process = int((folder / "run/innkeeper/manager.lock").read_text())
        used, all_used = share(IDLE_S, process)
        shown.append(
            (f"the daemon's share of a processor while {RUNNING} machines idle", f"{used:.2%}", f"{DAEMON_BAR:.0%}")
        )
        shown.append((f"the {RUNNING} machines' share of a processor", f"{all_used:.1%}", ""))
    finally:
        for name in names[:RUNNING]:
            inn("destroy", name, check=False)
    verb, ms = max(((verb, repeated(3, partial(imported, verb))) for verb in VERBS), key=lambda each: each[1])
    base = repeated(3, lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    shown.append(
        (
            f"importing the verb that takes longest, `{verb}`, beyond Python's own start",
            f"{ms - base:.0f} ms",
            f"{IMPORT_BAR_MS:.0f} ms",
        )
    )
    return shown


def start_alone(name: str) -> float:
    """Milliseconds, with no other machine booting."""
    took = timed_ms(partial(inn, "start", name))
    inn("destroy", name)
    return took


def define(folder: Path) -> list[str]:
    init = folder / "init"
    init.write_text(INIT)
    kernel = inn("image", "kernel").strip()
    initrd = inn("image", "initramfs", "--init", str(init), "--output", str(folder / "initrd")).strip()
    names = []
    for number in range(DEFINED):
        file = folder / "machine.xml"
        file.write_text(XML.format(number=number, memory=MEMORY_MIB, kernel=kernel, initrd=initrd))
        inn("define", str(file))
        names.append(f"m{number:02}")
    return names


def inn(*words: str, check: bool = True) -> str:
    command = [sys.executable, "-m", "innkeeper.cli", *words]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=check).stdout


def imported(verb: str) -> None:
    code = f"from innkeeper.cli import load; load({verb!r})"
    subprocess.run([sys.executable, "-c", code], check=True)


def repeated(times: int, work: Callable[[], object]) -> float:
    return median(timed_ms(work) for _ in range(times))


def timed_ms(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def share(seconds: float, process: int) -> tuple[float, float]:
    """Of a processor's time: what a process takes, and what all machines' processes take."""
    machines = [number for name in running() if (number := process_of(name)) is not None]
    before, all_before = used_s(process), sum(map(used_s, machines))
    time.sleep(seconds)
    return (used_s(process) - before) / seconds, (sum(map(used_s, machines)) - all_before) / seconds


def used_s(process: int) -> float:
    """proc(5): utime and stime."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def page(rows: list[tuple[str, str, str]]) -> str:
    lines = "".join(f"| {what} | {much} | {bar} |\n" for what, much, bar in rows)
    return f"## The manager\nMedians.\n\n| | | bar |\n|---|---:|---:|\n{lines}"


if __name__ == "__main__":
    sys.exit(main())
