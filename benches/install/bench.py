"""How long an unattended installation of Debian takes, against QEMU's TCG with the same disc, answers and kind of disk.

The disc is `inn image installer`'s. Both install from the same kernel and RAM disk, restart from the disk, and are done when root's password is taken at
the serial console. Turns alternate. Run it as `python -m benches.install.bench`; on a quiet machine a turn takes some ten minutes.
"""

import argparse
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.boot.inn import Line
from tests.soak.home import ANSWER_S, LIMIT_S, LOGIN_S, Home
from tests.soak.install import DISK_GIB, MEMORY_MIB, NAME, PASSWORD, Took, converse, install

from innkeeper.config import EngineChoice
from innkeeper.errors import InnkeeperError
from innkeeper.image.installer import InstallerRecipe, build_installer
from innkeeper.manager.installation.media import Location, fetch

# TCG's clocks are late on a busy host, which a kernel may take for a broken board.
WORDS = "auto=true priority=critical DEBIAN_FRONTEND=text no_timer_check console=ttyS0 --- no_timer_check console=ttyS0"
ANSWERS = f"""\
d-i debian-installer/locale string C
d-i keyboard-configuration/xkb-keymap select us
d-i netcfg/hostname string {NAME}
d-i partman/confirm boolean true
d-i base-installer/initramfs-tools/driver-policy select dep
d-i passwd/root-password password {PASSWORD}
d-i passwd/root-password-again password {PASSWORD}
d-i passwd/make-user boolean false
"""


class BenchError(Exception):
    """A run that did not do what it should have; nothing was measured."""


@dataclass(slots=True)
class Times:
    """Of one program, turn after turn."""

    installing: list[float] = field(default_factory=list)
    starting: list[float] = field(default_factory=list)

    def add(self, took: Took) -> None:
        self.installing.append(took.installing)
        self.starting.append(took.starting)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=1, help="turns (default: %(default)s)")
    parser.add_argument("--engine", type=EngineChoice, default=EngineChoice.BT, help="ours (default: %(default)s)")
    parser.add_argument("--append", type=Path, metavar="PAGE.md", help="add the result to a page")
    arguments = parser.parse_args()
    if shutil.which("qemu-system-x86_64") is None:
        print("error: no qemu-system-x86_64 (Debian package qemu-system-x86)", file=sys.stderr)
        return 2
    try:
        page = measure(arguments)
    except (BenchError, AssertionError, InnkeeperError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(page, end="")
    if arguments.append is not None:
        with arguments.append.open("a") as file:
            file.write("\n" + page)
    return 0


def measure(arguments: argparse.Namespace) -> str:
    ours, theirs = Times(), Times()
    with TemporaryDirectory(prefix="innkeeper-install-") as name:
        folder = Path(name)
        disc = build_installer(InstallerRecipe(), folder / "debian.iso")
        answers = folder / "preseed.cfg"
        answers.write_text(ANSWERS)
        for turn in range(arguments.turns):
            print(f"turn {turn + 1} of {arguments.turns}: ours ...", file=sys.stderr)
            given = ["--initrd-inject", str(answers), "--extra-args", WORDS]
            ours.add(install(Home(folder / f"ours-{turn}"), disc, arguments.engine, *given))
            print(f"took {ours.installing[-1]:.0f} s and {ours.starting[-1]:.0f} s; QEMU's ...", file=sys.stderr)
            theirs.add(install_with_qemu(folder / f"theirs-{turn}", disc, answers))
            print(f"took {theirs.installing[-1]:.0f} s and {theirs.starting[-1]:.0f} s", file=sys.stderr)
    return render(ours, theirs)


def install_with_qemu(folder: Path, disc: Path, answers: Path) -> Took:
    folder.mkdir()
    kernel, initrd = fetch(Location(path=disc), folder, [answers])
    disk = folder / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), f"{DISK_GIB}G"], check=True)
    common = [
        "qemu-system-x86_64",
        "-accel",
        "tcg,thread=multi",
        "-m",
        str(MEMORY_MIB),
        "-display",
        "none",
        "-nic",
        "none",
    ]
    common += ["-drive", f"file={disk},if=virtio,discard=unmap", "-device", "virtio-rng-pci", "-no-reboot"]
    log = ["-serial", f"file:{folder}/serial.log"]
    begun = time.monotonic()
    start = ["-cdrom", str(disc), "-kernel", str(kernel), "-initrd", str(initrd), "-append", WORDS]
    done = subprocess.run([*common, *log, *start], timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL)
    ended = time.monotonic()
    said = (folder / "serial.log").read_text(errors="replace")
    if done.returncode != 0 or "The installation is complete." not in said:
        raise BenchError(f"QEMU's installation did not end well; it said last: {said[-300:]!r}")
    start_installed(common, folder / "serial")
    return Took(ended - begun, time.monotonic() - ended)


def start_installed(command: list[str], serial: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(serial))
        listener.listen()
        listener.settimeout(ANSWER_S)
        with subprocess.Popen([*command, "-serial", f"unix:{serial}"], stdin=subprocess.DEVNULL) as process:
            try:
                with listener.accept()[0] as line:
                    converse(Line(line.fileno()))
                    process.wait(LOGIN_S)
            finally:
                process.kill()


def render(ours: Times, theirs: Times) -> str:
    rows = [
        "## Installing Debian\n",
        f"`benches/install/bench.py`: {len(ours.installing)} turn(s), {MEMORY_MIB} MiB, one vCPU, a qcow2 disk on virtio; medians in seconds.\n",
        "| | Innkeeper | QEMU TCG | ratio |\n|---|---|---|---|",
    ]
    for name, mine, other in (
        ("from the installer's kernel to its end", ours.installing, theirs.installing),
        ("from there to a login, and off", ours.starting, theirs.starting),
    ):
        ratio = median(other) / median(mine)
        rows.append(f"| {name} | {median(mine):.0f} | {median(other):.0f} | {ratio:.2f} times as fast |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
