"""What a virtio disk does under fio in Debian's kernel, and under QEMU's TCG with the same kernel, archive and image.

4 KiB at random at queue depth 1 and 32, 1 MiB in sequence; raw and qcow2. The two take turns, round by round, so that
what else the host does meets both. fio and its libraries are the host's (Debian package fio).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from innkeeper.image import InitramfsRecipe, KernelImage, build_initramfs, fetch_kernel
from innkeeper.storage.images import Conversion, convert

DISK_MIB = 256
MEMORY_MIB = 512
LIMIT_S = 300
AIM = 1.5
APPEND = "console=ttyS0 quiet cryptomgr.notests"


@dataclass(frozen=True, slots=True)
class Job:
    """One way in which fio reads or writes."""

    name: str
    rw: str
    block: str
    depth: int


JOBS = (
    Job("4 KiB random read, depth 1", "randread", "4k", 1),
    Job("4 KiB random read, depth 32", "randread", "4k", 32),
    Job("4 KiB random write, depth 1", "randwrite", "4k", 1),
    Job("4 KiB random write, depth 32", "randwrite", "4k", 32),
    Job("1 MiB sequential read, depth 1", "read", "1m", 1),
    Job("1 MiB sequential write, depth 1", "write", "1m", 1),
    Job("1 MiB sequential read, depth 4", "read", "1m", 4),
    Job("1 MiB sequential write, depth 4", "write", "1m", 4),
)
Row = tuple[str, str]
"""Image format and job."""
READ_IOPS, WRITE_IOPS = 7, 48  # fields of fio's terse output, version 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--append", type=Path, metavar="PAGE.md", help="add the result to that page")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="how long each job runs")
    parser.add_argument("--folder", type=Path, help="where the images lie (default: a temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        ours, theirs = measure(Path(folder), arguments.rounds, arguments.seconds)
    text = page(ours, theirs, arguments.rounds)
    print(text, end="")
    if arguments.append is not None:
        with arguments.append.open("a") as file:
            file.write("\n" + text)
    return 0


def measure(folder: Path, rounds: int, seconds: int) -> tuple[dict[Row, list[float]], dict[Row, list[float]]]:
    """Requests a second of each row, round by round: ours, and QEMU's."""
    kernel = fetch_kernel()
    archive = build_archive(folder, kernel, seconds)
    images = {"raw": folder / "disk.raw", "qcow2": folder / "disk.qcow2"}
    with images["raw"].open("wb") as file:
        for _ in range(DISK_MIB):
            file.write(os.urandom(1 << 20))
    convert(images["raw"], images["qcow2"], Conversion(image_format="qcow2"))
    ours: dict[Row, list[float]] = {}
    theirs: dict[Row, list[float]] = {}
    for number in range(rounds):
        for kind, image in images.items():
            for table, command in ((ours, inn_command), (theirs, qemu_command)):
                said = run(command(kernel.vmlinuz, archive, image, kind))
                for name, value in parse(said).items():
                    table.setdefault((kind, name), []).append(value)
        print(f"round {number + 1} of {rounds} done", file=sys.stderr)
    return ours, theirs


def build_archive(folder: Path, kernel: KernelImage, seconds: int) -> Path:
    fio = shutil.which("fio")
    if fio is None:
        raise SystemExit("fio is not there; install the Debian package fio")
    listed = subprocess.run(["ldd", fio], capture_output=True, text=True, check=True).stdout
    libraries = [word for word in listed.split() if word.startswith("/")]
    init = folder / "init"
    lines = [
        "#!/bin/sh",
        ". /etc/innkeeper/setup",
        "export LD_LIBRARY_PATH=/lib/x86_64-linux-gnu",
        *(fio_line(index, job, seconds) for index, job in enumerate(JOBS)),
        "poweroff -f",
    ]
    init.write_text("\n".join(lines) + "\n")
    recipe = InitramfsRecipe(
        init=init,
        modules=("virtio_pci", "virtio_blk"),
        modules_directory=kernel.modules,
        files=((Path(fio), "/bin/fio"), *((Path(library).resolve(), library) for library in libraries)),
    )
    return build_initramfs(recipe, folder / "initrd.gz")


def fio_line(index: int, job: Job, seconds: int) -> str:
    return (
        f"fio --name=job{index} --filename=/dev/vda --direct=1 --ioengine=libaio --rw={job.rw} --bs={job.block} "
        f"--iodepth={job.depth} --size={DISK_MIB}m --runtime={seconds} --time_based --ramp_time=1 "
        "--output-format=terse --terse-version=3"
    )


def inn_command(kernel: Path, archive: Path, image: Path, kind: str) -> list[str]:
    disk = f"path={image},format={kind},bus=virtio"
    inn = [sys.executable, "-m", "innkeeper.cli", "run", "--engine", "bt", "--memory", str(MEMORY_MIB)]
    return [*inn, "--kernel", str(kernel), "--initrd", str(archive), "--append", APPEND, "--disk", disk]


def qemu_command(kernel: Path, archive: Path, image: Path, kind: str) -> list[str]:
    qemu = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", str(MEMORY_MIB), "-nodefaults", "-no-reboot"]
    start = ["-kernel", str(kernel), "-initrd", str(archive), "-append", APPEND]
    drive = ["-drive", f"file={image},format={kind},if=virtio"]
    return [*qemu, "-display", "none", "-serial", "stdio", *start, *drive]


def run(command: list[str]) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, check=False)
    said = done.stdout.decode(errors="replace")
    if done.returncode != 0 or len(parse(said)) != len(JOBS):
        raise SystemExit(f"{command[0]} fails: {done.stderr.decode()} {said[-2000:]}")
    return said


def parse(said: str) -> dict[str, float]:
    """Requests a second by job."""
    found = {}
    for line in said.splitlines():
        fields = line.strip().split(";")
        if len(fields) > WRITE_IOPS and fields[2].startswith("job"):
            job = JOBS[int(fields[2].removeprefix("job"))]
            found[job.name] = float(fields[WRITE_IOPS if "write" in job.rw else READ_IOPS])
    return found


def page(ours: dict[Row, list[float]], theirs: dict[Row, list[float]], rounds: int) -> str:
    lines = [
        "## Disks",
        "",
        f"fio on a virtio disk of {DISK_MIB} MiB in the host's page cache, engine bt against QEMU's TCG with the same kernel,",
        f"archive and image, in turns; medians of {rounds} rounds, requests a second. The aim is {AIM} × in every row.",
        "",
        "| image | job | Innkeeper | QEMU TCG | ratio | |",
        "|---|---|---|---|---|---|",
    ]
    for (kind, name), measured in ours.items():
        us, them = median(measured), median(theirs[kind, name])
        verdict = "met" if us >= AIM * them else "missed"
        lines.append(f"| {kind} | {name} | {us:.0f} | {them:.0f} | {us / them:.2f} × | {verdict} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
