"""The boot benchmark: Innkeeper's soft engines against QEMU's TCG, same kernel, initramfs and memory.

Runs alternate, so that a busy machine is unfair to both alike. Old numbers are never compared with.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bars import judge
from measure import BenchError, Boot, Guest, Measured, boot, first_output_s, innkeeper_command, qemu_command

from innkeeper.image import InitramfsRecipe, build_initramfs, fetch_kernel
from innkeeper.testing.guests import POWER_OFF, flat_guest, say

HERE = Path(__file__).resolve().parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", nargs="+", default=["bt", "interp"], metavar="ENGINE", help="default: bt interp")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kernel", type=Path, help="default: Debian's cloud kernel")
    parser.add_argument("--memory", type=int, default=512, metavar="MIB")
    parser.add_argument("--render", type=Path, metavar="PAGE.md", help="write the result there as well")
    arguments = parser.parse_args()
    if shutil.which("qemu-system-x86_64") is None:
        print("error: no qemu-system-x86_64 to compare with (Debian package qemu-system-x86)", file=sys.stderr)
        return 2
    with TemporaryDirectory() as directory:
        try:
            page = measure_all(arguments, Path(directory))
        except BenchError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print(page, end="")
    if arguments.render is not None:
        arguments.render.write_text(page)
    return 0


def measure_all(arguments: argparse.Namespace, directory: Path) -> str:
    kernel = arguments.kernel or fetch_kernel().vmlinuz
    recipe = InitramfsRecipe(init=HERE / "marker.init")
    initrd = build_initramfs(recipe, directory / "initramfs.cpio.gz")
    guest = Guest(kernel=kernel, initrd=initrd, memory_mib=arguments.memory)
    stats = directory / "stats.json"
    tiny = directory / "tiny"
    tiny.write_bytes(flat_guest(say(b"!") + POWER_OFF))
    qemus: list[Boot] = []
    engines = {engine: Measured() for engine in arguments.engines}
    for turn in range(arguments.repeats):
        print(f"turn {turn + 1} of {arguments.repeats} ...", file=sys.stderr)
        for engine, measured in engines.items():
            measured.boots.append(boot(innkeeper_command(guest, engine, stats), guest.memory_mib))
            measured.ledgers.append(json.loads(stats.read_text()))
            measured.starts_s.append(first_output_s(tiny, engine))
        qemus.append(boot(qemu_command(guest), guest.memory_mib))
    return render(engines, qemus, guest, about=this_machine())


def render(engines: dict[str, Measured], qemus: list[Boot], guest: Guest, *, about: str) -> str:
    rows = [row(f"innkeeper {engine}", measured.boots) for engine, measured in engines.items()]
    judged = [(engine, each) for engine, measured in engines.items() for each in judge(engine, measured, qemus)]
    return f"""# Benchmarks

Made by `make bench`. Each section is one run on one machine: compare within it, not between pages.

{about}.
Guest: {guest.kernel.name}, {guest.memory_mib} MiB, `{guest.append}`; {len(qemus)} turns each, alternating.

## Boot to userspace

| | to userspace, median | best | worst | to power-off | processor time | memory beside the guest's |
|---|---|---|---|---|---|---|
{chr(10).join([*rows, row("qemu tcg", qemus)])}

| engine | | measured | bar | aim | |
|---|---|---|---|---|---|
{"".join(f"| {engine} | {each.row()}" for engine, each in judged)}"""


def row(name: str, runs: list[Boot]) -> str:
    times = sorted(run.userspace_s for run in runs)
    ended = median(run.ended_s for run in runs)
    cpu = median(run.cpu_s for run in runs)
    beside = median(run.beside_guest_mib for run in runs)
    return (
        f"| {name} | {median(times):.2f} s | {times[0]:.2f} s | {times[-1]:.2f} s "
        f"| {ended:.2f} s | {cpu:.2f} s | {beside:.0f} MiB |"
    )


def this_machine() -> str:
    host = f"{processor()}, {os.cpu_count()} processors, Linux {platform.release()}"
    return f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}, {host}, {qemu()}"


def commit() -> str:
    described = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    return subprocess.run(described, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def qemu() -> str:
    version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout
    return version.splitlines()[0].replace("emulator version ", "")


if __name__ == "__main__":
    sys.exit(main())
