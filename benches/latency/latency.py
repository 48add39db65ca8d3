"""How long a running guest keeps its machine waiting: from `kick` to `run` having returned.

The guest is a loop in flat 32-bit code, tight or long. Interrupts reach a vCPU the same way as kicks do: a
word that interpreted code reads between blocks, and translated code at loops, calls and indirect jumps.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path
from statistics import median, quantiles

from innkeeper import _core

RAM = 1 << 20
CODE = 0x1000
FLAT_CODE, FLAT_DATA = 0xC09B, 0xC093
LOOPS = {
    "tight loop": b"\xeb\xfe",  # jmp $
    "4000 instructions": b"\x40" * 4000 + b"\xe9" + (-4005).to_bytes(4, "little", signed=True),  # inc eax ...; jmp
}
KICKS = 300


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--append", type=Path, metavar="PAGE.md", help="add the result to that page")
    arguments = parser.parse_args()
    engines = [engine for engine in ("bt", "interp") if engine != "bt" or _core.bt_unavailable() is None]
    rows = [(engine, name, latencies_us(engine, code)) for engine in engines for name, code in LOOPS.items()]
    text = page(rows)
    print(text, end="")
    if arguments.append is not None:
        with arguments.append.open("a") as file:
            file.write("\n" + text)
    return 0


def latencies_us(engine: str, code: bytes) -> list[float]:
    memory = _core.Memory([(0, RAM)])
    memory.write(CODE, code)
    vm = _core.Vm(engine, memory, 1)
    vcpu = vm.vcpu(0)
    vcpu.set_state(flat_32(vcpu.get_state()))
    return [kick_once(vcpu) for _ in range(KICKS)]


def kick_once(vcpu: _core.Vcpu) -> float:
    """Microseconds from a kick to the return of `run`, in the guest for a while by then."""
    returned = 0

    def run() -> None:
        nonlocal returned
        vcpu.run()
        returned = time.perf_counter_ns()

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.002)
    kicked = time.perf_counter_ns()
    vcpu.kick()
    thread.join()
    return (returned - kicked) / 1000


def flat_32(state: _core.CpuState) -> _core.CpuState:
    for number, segment in enumerate(state["segments"]):
        code = number == 1
        segment["selector"] = 8 if code else 16
        segment["base"], segment["limit"] = 0, 0xFFFF_FFFF
        segment["attributes"] = FLAT_CODE if code else FLAT_DATA
    state["cr0"] |= 1
    state["rip"] = CODE
    return state


def page(rows: list[tuple[str, str, list[float]]]) -> str:
    lines = [
        "## Until a running guest answers",
        "",
        f"From `kick` to the return of `run`, {KICKS} times each, with what two threads of Python cost.",
        "",
        "| engine | guest | median | 99 % | worst |",
        "|---|---|---|---|---|",
    ]
    for engine, name, times in rows:
        worst = quantiles(times, n=100)[-1]
        lines.append(f"| {engine} | {name} | {median(times):.0f} µs | {worst:.0f} µs | {max(times):.0f} µs |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
