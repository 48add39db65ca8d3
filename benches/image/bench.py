"""The image benchmark: `inn image convert` against `qemu-img convert`, the same raw disk to qcow2.

The disk is part data, part zeroes that were written, part holes. Runs alternate, so that a busy machine is unfair to
both alike; what each wrote is compared with the source once. Both write through the page cache and are asked for the
same: the time includes making the result durable.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

MIB = 1 << 20
AIM = 1.0


class BenchError(Exception):
    """A run that did not do what it should have; nothing was measured."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way to convert."""

    name: str
    options: tuple[str, ...]
    threads: int


@dataclass(slots=True)
class Times:
    """What the two programs took, in seconds, turn by turn."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    def ratio(self) -> float:
        """Of pairs: below 1 ours is faster."""
        return median(mine / other for mine, other in zip(self.ours, self.theirs, strict=True))


ROWS = (
    Row("plain", (), 8),
    Row("compressed, zlib", ("-c",), 8),
    Row("compressed, zstd", ("-c", "-o", "compression_type=zstd"), 8),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="turns (default: %(default)s)")
    parser.add_argument("--size", type=int, default=4096, metavar="MIB", help="of the disk (default: %(default)s)")
    parser.add_argument("--packed-size", type=int, default=512, metavar="MIB", help="where clusters are compressed")
    parser.add_argument("--directory", type=Path, help="where the images go (default: the temporary directory)")
    parser.add_argument("--append", type=Path, metavar="PAGE.md", help="add the result to a page")
    arguments = parser.parse_args()
    if shutil.which("qemu-img") is None:
        print("error: no qemu-img to compare with (Debian package qemu-utils)", file=sys.stderr)
        return 2
    with TemporaryDirectory(dir=arguments.directory) as directory:
        try:
            page = measure_all(arguments, Path(directory))
        except BenchError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print(page, end="")
    if arguments.append is not None:
        with arguments.append.open("a") as file:
            file.write("\n" + page)
    return 0


def measure_all(arguments: argparse.Namespace, directory: Path) -> str:
    sizes = {row: arguments.packed_size if row.options else arguments.size for row in ROWS}
    measured: dict[Row, Times] = {}
    for row, size in sizes.items():
        disk = directory / f"{size}.raw"
        if not disk.exists():
            write_disk(disk, size)
        measured[row] = measure(row, disk, directory, arguments.repeats)
    return render(measured, sizes, arguments.repeats)


def write_disk(path: Path, size_mib: int) -> None:
    """Of sixteen pieces of 1 MiB six are noise, three are text, two are written zeroes and five are holes."""
    noise = random.Random(1)
    text = b"".join(
        f"line {number} of a log that says much the same again and again\n".encode() for number in range(20000)
    )
    with path.open("wb") as file:
        for index in range(size_mib):
            kind = index * 7 % 16
            file.seek(index * MIB)
            if kind < 6:
                file.write(noise.randbytes(MIB))
            elif kind < 9:
                file.write(text[:MIB])
            elif kind < 11:
                file.write(bytes(MIB))
        file.truncate(size_mib * MIB)
        os.fsync(file.fileno())


def measure(row: Row, disk: Path, directory: Path, repeats: int) -> Times:
    ours, theirs = directory / "ours.qcow2", directory / "theirs.qcow2"
    inn = [sys.executable, "-m", "innkeeper.cli", "image", "convert", "-f", "raw", "-O", "qcow2", *row.options]
    # Its own default writes without flushing; ours never does.
    qemu = [
        "qemu-img",
        "convert",
        "-m",
        str(row.threads),
        "-W",
        "-t",
        "writeback",
        "-f",
        "raw",
        "-O",
        "qcow2",
        *row.options,
    ]
    times = Times()
    for turn in range(repeats):
        print(f"{row.name}: turn {turn + 1} of {repeats} ...", file=sys.stderr)
        warm(disk)
        times.ours.append(timed([*inn, str(disk), str(ours)], ours))
        times.theirs.append(timed([*qemu, str(disk), str(theirs)], theirs))
    for result in (ours, theirs):
        run(["qemu-img", "check", "-q", str(result)])
        run(["qemu-img", "compare", "-q", str(disk), str(result)])
    return times


def warm(disk: Path) -> None:
    """Reads the source once, so that both find it in memory alike."""
    with disk.open("rb", buffering=0) as file:
        while file.read(16 * MIB):
            pass


def timed(command: list[str], result: Path) -> float:
    result.unlink(missing_ok=True)
    os.sync()
    started = time.monotonic()
    run(command)
    with result.open("rb+") as file:
        os.fsync(file.fileno())
    return time.monotonic() - started


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")


def render(measured: dict[Row, Times], sizes: dict[Row, int], repeats: int) -> str:
    rows = "".join(
        f"| {row.name} | {sizes[row]} MiB | {show(times.ours)} | {show(times.theirs)} | {times.ratio():.2f} × "
        f"| at most {AIM:.0f} × | {'met' if times.ratio() <= AIM else '**not met**'} |\n"
        for row, times in measured.items()
    )
    version = subprocess.run(["qemu-img", "--version"], capture_output=True, text=True, check=True).stdout
    return f"""## Images

Raw to qcow2 with `inn image convert`, and with {version.splitlines()[0]} and {ROWS[0].threads} coroutines that may write in any order; \
the disk is part data, part zeroes, part holes; durable at the end; {repeats} turns each, alternating, medians (best to worst).

| | disk | innkeeper | qemu-img | ours to qemu-img's, median of pairs | bar | |
|---|---|---|---|---|---|---|
{rows}"""


def show(times: list[float]) -> str:
    return f"{median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"


if __name__ == "__main__":
    sys.exit(main())
