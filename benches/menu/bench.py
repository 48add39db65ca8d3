"""From the start of a program to the boot menu of Debian's installer on its VNC screen, against QEMU's TCG with the same disc.

Both start SeaBIOS, and ISOLINUX from the disc. Turns alternate. Run it as `python -m benches.menu.bench`; it needs what
scripts/make-installer-iso needs.
"""

import argparse
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.display.rfb.client import RAW, Client

ROOT = Path(__file__).resolve().parents[2]
MEMORY_MIB = 512
LIMIT_S = 120.0
DESKTOP_SIZE = -223
MENU, COLOURS = (640, 480), 500
"""ISOLINUX's drawing: its size, and fewer colours than it has."""


class BenchError(Exception):
    """A run that did not do what it should have; nothing was measured."""


class Watcher(Client):
    """Keeps the bytes of the last picture, which it does not decode."""

    picture = b""

    def _raw(self, _x: int, _y: int, width: int, height: int) -> None:
        self.picture = self.read(width * height * 4)

    @property
    def shows_menu(self) -> bool:
        whole = len(self.picture) == 4 * MENU[0] * MENU[1]
        return whole and len(set(memoryview(self.picture).cast("I"))) > COLOURS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=7, help="turns (default: %(default)s)")
    parser.add_argument("--append", type=Path, metavar="PAGE.md", help="add the result to a page")
    arguments = parser.parse_args()
    if shutil.which("qemu-system-x86_64") is None:
        print("error: no qemu-system-x86_64 (Debian package qemu-system-x86)", file=sys.stderr)
        return 2
    ours: list[float] = []
    theirs: list[float] = []
    try:
        with TemporaryDirectory() as folder:
            iso, place = Path(folder) / "installer.iso", Path(folder) / "vnc"
            subprocess.run([ROOT / "scripts/make-installer-iso", iso], check=True)
            for turn in range(arguments.turns):
                print(f"turn {turn + 1} of {arguments.turns} ...", file=sys.stderr)
                ours.append(until_menu(innkeeper_command(iso, place), place))
                theirs.append(until_menu(qemu_command(iso, place), place))
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    page = render(ours, theirs)
    print(page, end="")
    if arguments.append is not None:
        with arguments.append.open("a") as file:
            file.write("\n" + page)
    return 0


def innkeeper_command(iso: Path, place: Path) -> list[str]:
    inn = str(Path(sys.executable).with_name("inn"))  # as users start it
    return [
        inn,
        "run",
        "--engine",
        "bt",
        "--memory",
        str(MEMORY_MIB),
        "--cdrom",
        str(iso),
        "--graphics",
        f"vnc,socket={place}",
        "--console",
        "none",
    ]


def qemu_command(iso: Path, place: Path) -> list[str]:
    machine = ["qemu-system-x86_64", "-accel", "tcg", "-m", str(MEMORY_MIB), "-nodefaults", "-vga", "std"]
    return [*machine, "-cdrom", str(iso), "-boot", "d", "-vnc", f"unix:{place}"]


def until_menu(command: list[str], place: Path) -> float:
    """Seconds. Raises `BenchError`."""
    place.unlink(missing_ok=True)
    started = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        with connected(place, process, started + LIMIT_S) as viewer:
            viewer.shake_hands()
            viewer.set_encodings(RAW, DESKTOP_SIZE)
            viewer.update()
            while not viewer.shows_menu:
                if time.monotonic() > started + LIMIT_S:
                    raise BenchError(f"{command[0]} shows no menu within {LIMIT_S:g} s")
                viewer.update(incremental=True)
                if (viewer.width, viewer.height) == MENU:
                    viewer.update()
        return time.monotonic() - started
    finally:
        process.kill()
        process.communicate()


def connected(place: Path, process: subprocess.Popen[bytes], deadline: float) -> Watcher:
    while time.monotonic() < deadline and process.poll() is None:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(place))
        except OSError:  # it does not listen yet
            connection.close()
            time.sleep(0.005)
        else:
            return Watcher(connection)
    raise BenchError(f"{process.args!r} does not listen; its status is {process.returncode}")


def render(ours: list[float], theirs: list[float]) -> str:
    ratio = median(mine / other for mine, other in zip(ours, theirs, strict=True))
    rows = "\n".join(
        f"| {name} | {median(times):.2f} s | {min(times):.2f} to {max(times):.2f} s |"
        for name, times in (("innkeeper bt", ours), ("qemu tcg", theirs))
    )
    return f"""## From a disc to its menu

From the start of the program until a VNC viewer sees the boot menu of Debian's installer, {MEMORY_MIB} MiB, by SeaBIOS and ISOLINUX; {len(ours)} turns each, alternating.

| | median | range |
|---|---|---|
{rows}

Ours takes {ratio:.2f} × QEMU's time, the median of pairs; the bar is 1 ×: {"met" if ratio <= 1 else "**not met**"}.
"""


if __name__ == "__main__":
    sys.exit(main())
