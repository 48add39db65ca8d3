"""The footprint benchmark: how soon `inn run` reaches the guest's first instruction, and the memory it takes itself.

The first instruction tells of itself: it is put into Debian's kernel, at its entry point, and writes to the serial
port. Memory is read from outside, all through a boot: what is resident save the guest's RAM (Linux
Documentation/filesystems/proc.rst, smaps).
"""

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from innkeeper.firmware.linux import ENTRY_64, SECTOR, SETUP_SECTORS
from innkeeper.image import InitramfsRecipe, build_initramfs, fetch_kernel
from innkeeper.testing.guests import POWER_OFF, say

MARKER = Path(__file__).resolve().parents[1] / "boot/marker.init"
MEMORY_MIB = 512
START_LIMIT_MS, OWN_LIMIT_MIB = 300.0, 150.0
LOOK_S = 0.005
MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) ")


class BenchError(Exception):
    """A run that did not do what it should have; nothing was measured."""


@dataclass(frozen=True, slots=True)
class Resident:
    """Resident memory of a process at one moment, in MiB."""

    own: float
    guest: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=10, help="starts to take the median of (default: %(default)s)")
    parser.add_argument("--vcpus", type=int, nargs="*", default=[1, 2, 8], help="boots to watch (default: 1 2 8)")
    parser.add_argument("--kernel", type=Path, help="default: Debian's cloud kernel")
    parser.add_argument("--append", type=Path, metavar="PAGE.md", help="add the result to a page")
    arguments = parser.parse_args()
    with TemporaryDirectory() as directory:
        try:
            starts, peaks = measure(arguments, Path(directory))
        except BenchError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    page = render(starts, peaks)
    print(page, end="")
    if arguments.append is not None:
        with arguments.append.open("a") as file:
            file.write("\n" + page)
    fast, small = median(starts) <= START_LIMIT_MS, all(peak.own <= OWN_LIMIT_MIB for peak in peaks.values())
    return 0 if fast and small else 1


def measure(arguments: argparse.Namespace, directory: Path) -> tuple[list[float], dict[int, Resident]]:
    kernel = arguments.kernel or fetch_kernel().vmlinuz
    initrd = build_initramfs(InitramfsRecipe(init=MARKER), directory / "initramfs.cpio.gz")
    speaking = directory / "vmlinuz"
    speaking.write_bytes(speak_first(kernel.read_bytes()))
    starts = [first_instruction_ms(inn_run(speaking, initrd)) for _ in range(arguments.repeats)]
    peaks = {count: peak_of(inn_run(kernel, initrd, "--vcpus", str(count))) for count in arguments.vcpus}
    return starts, peaks


def inn_run(kernel: Path, initrd: Path, *options: str) -> list[str]:
    inn = [sys.executable, "-m", "innkeeper.cli", "run", "--engine", "interp", "--memory", str(MEMORY_MIB)]
    return [*inn, "--kernel", str(kernel), "--initrd", str(initrd), "--append", "console=ttyS0", *options]


def speak_first(bzimage: bytes) -> bytes:
    """The kernel with its first instructions replaced: they write to COM1 and power off. Its size stays."""
    entry = (bzimage[SETUP_SECTORS] + 1) * SECTOR + ENTRY_64
    code = say(b"!") + POWER_OFF  # the same bytes in 32- and 64-bit code
    return bzimage[:entry] + code + bzimage[entry + len(code) :]


def first_instruction_ms(command: list[str]) -> float:
    started = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        assert run.stdout is not None
        said = os.read(run.stdout.fileno(), 1)
        took = time.monotonic() - started
    if said != b"!" or run.returncode != 0:
        raise BenchError(f"the speaking kernel said {said!r} and ended with {run.returncode}")
    return took * 1000


def peak_of(command: list[str]) -> Resident:
    """The moment of a run at which it took the most for itself."""
    run = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = Resident(0.0, 0.0)
    while run.poll() is None:
        peak = max(peak, resident(Path(f"/proc/{run.pid}/smaps")), key=lambda moment: moment.own)
        time.sleep(LOOK_S)
    if run.returncode != 0:
        raise BenchError(f"{' '.join(command)} ended with {run.returncode}")
    return peak


def resident(smaps: Path) -> Resident:
    try:
        return parse(smaps.read_text())
    except ProcessLookupError:  # it has just ended
        return Resident(0.0, 0.0)


def parse(smaps: str) -> Resident:
    """Guest RAM is the one mapping of about its size; its holes below 1 MiB are not mapped."""
    own = guest = size = 0
    for line in smaps.splitlines():
        if mapping := MAPPING.match(line):
            size = int(mapping[2], 16) - int(mapping[1], 16)
        elif line.startswith("Rss:"):
            kib = int(line.split()[1])
            if size >= (MEMORY_MIB - 1) << 20:
                guest += kib
            else:
                own += kib
    return Resident(own / 1024, guest / 1024)


def render(starts: list[float], peaks: dict[int, Resident]) -> str:
    ordered = sorted(starts)
    rows = "".join(
        f"| memory beyond the guest's, peak of a boot with {count} vCPU{'s' * (count > 1)}"
        f" | {peak.own:.0f} MiB (guest's then: {peak.guest:.0f} MiB) | at most {OWN_LIMIT_MIB:.0f} MiB |\n"
        for count, peak in peaks.items()
    )
    return f"""## Footprint

| | measured | goal |
|---|---|---|
| from `inn run` to the guest's first instruction, median of {len(starts)} | {median(starts):.0f} ms \
(best {ordered[0]:.0f}, worst {ordered[-1]:.0f}) | at most {START_LIMIT_MS:.0f} ms |
{rows}"""


if __name__ == "__main__":
    sys.exit(main())
