"""How soon a change of the whole screen is with a viewer on the same host, and what an idle viewer costs.

The screen is in memory, the viewer a process of its own that asks for continuous updates. The server ends each of them
by a fence, so the viewer knows without decoding when it has all of one; how fast viewers decode is theirs.
A change comes after a pause of random length, so that it meets a screen that is lively or has come to rest.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from tests.devices.vga_modes import Card
from tests.display.rfb.client import ENCODINGS, Client
from tests.engines import fastest_software

from innkeeper._core import Memory, MemoryScreen, Screen, Vm
from innkeeper.config import GraphicsConfig
from innkeeper.display.rfb import VncServer

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 1024, 768
CHANGES = 100
BAR_MS = 50.0
IDLE_S, SETTLE_S = 10.0, 2.0
LIVELY_S, RESTING_S = 0.06, 0.9  # between two changes, about as often each
FENCES, CONTINUOUS = -312, -313
FENCE, FENCE_ANSWER = b"\xf8\0\0\0\x80\0\0\0\0", b"\xf8" + bytes(8)
ANNOUNCEMENT = b"\x96" + FENCE  # of continuous updates and fences
QEMU = "qemu-system-x86_64"


class Nobody:
    """What viewers do does not matter here."""

    def key(self, code: int, down: bool, /) -> None: ...  # noqa: FBT001 - what a key is about
    def pointer(self, x: int, y: int, width: int, height: int, buttons: int, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Row:
    """One encoding with one kind of picture."""

    encoding: str
    picture: str
    times_ms: list[float]
    bytes_received: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--append", type=Path, metavar="PAGE.md", help="add the result to that page")
    parser.add_argument("--changes", type=int, default=CHANGES, metavar="N", help="of each row (default: %(default)s)")
    parser.add_argument("--view", nargs=2, metavar=("ADDRESS", "ENCODING"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.view is not None:
        return view(*arguments.view)
    rows = [
        latencies(encoding, kind, pictures, arguments.changes)
        for encoding in ENCODINGS
        for kind, pictures in (("text", texts()), ("photograph", photographs()))
    ]
    text = page(rows, idle())
    print(text, end="")
    if arguments.append is not None:
        with arguments.append.open("a") as file:
            file.write("\n" + text)
    return 0


# ---- pictures ------------------------------------------------------------------------------------


def texts() -> list[bytes]:
    """Two screens full of characters in a few colours; no pixel row is like its neighbour."""
    dice = random.Random(1)
    palette = [bytes((*dice.randbytes(3), 0)) for _ in range(8)]
    screens = []
    for ground in palette[:2]:
        glyphs = [
            b"".join(dice.choice((ground, ground, ink)) for _ in range(8)) for ink in palette[2:] for _ in range(40)
        ]
        screens.append(b"".join(dice.choice(glyphs) for _ in range(WIDTH * HEIGHT // 8)))
    return screens


def photographs() -> list[bytes]:
    """Two gradients with the noise of a camera, in some thousand colours."""
    dice = random.Random(2)
    screens = []
    for base in (0, 64):
        noise = dice.randbytes(WIDTH * HEIGHT)
        screens.append(
            b"".join(
                bytes(((at % WIDTH // 8 + base + grain % 4) & 255, at // WIDTH // 4 & 255, 128 + grain % 8, 0))
                for at, grain in enumerate(noise)
            )
        )
    return screens


# ---- how soon ------------------------------------------------------------------------------------


@contextmanager
def server(screen: Screen) -> Iterator[VncServer]:
    vnc = VncServer(GraphicsConfig(), screen, Nobody())
    vnc.start()
    try:
        yield vnc
    finally:
        vnc.close()


def in_memory() -> MemoryScreen:
    screen = MemoryScreen()
    screen.resize(WIDTH, HEIGHT)
    return screen


def latencies(encoding: str, kind: str, pictures: list[bytes], changes: int) -> Row:
    dice = random.Random(3)
    screen = in_memory()
    with server(screen.screen) as vnc:
        command = [sys.executable, "-m", "benches.vnc.vnc", "--view", vnc.address, encoding]
        viewer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert viewer.stdout is not None
        watchdog = threading.Timer(60 + 3 * changes, viewer.kill)  # whoever waits for it then gets an error
        watchdog.start()
        viewer.stdout.readline()  # the picture as it is
        times, sizes = [], []
        for turn in range(changes):
            time.sleep(dice.choice((LIVELY_S, RESTING_S)) * (0.5 + dice.random()))
            start = time.monotonic_ns()
            screen.draw(0, 0, WIDTH, HEIGHT, pictures[turn % 2])
            seen, size = map(int, viewer.stdout.readline().split())
            times.append((seen - start) / 1e6)
            sizes.append(size)
        watchdog.cancel()
        viewer.kill()
        viewer.wait()
        viewer.stdout.close()
    return Row(encoding, kind, times, median(sizes))


def view(address: str, encoding: str) -> int:
    """A viewer: tells when it has each update, and how long that was. Ends when it is killed."""
    host, _, port = address.rpartition(":")
    with Client(socket.create_connection((host, int(port)))) as client:
        client.socket.settimeout(None)
        client.shake_hands()
        client.set_encodings(ENCODINGS[encoding], FENCES, CONTINUOUS)
        assert client.read(len(ANNOUNCEMENT)) == ANNOUNCEMENT
        client.socket.sendall(FENCE_ANSWER)
        client.send("BB4H", 150, 1, 0, 0, WIDTH, HEIGHT)
        while True:
            size, tail = 0, b""
            while not tail.endswith(FENCE):
                piece = client.socket.recv(1 << 20)
                if not piece:
                    return 1
                size, tail = size + len(piece), (tail + piece)[-len(FENCE) :]
            print(time.monotonic_ns(), size, flush=True)
            client.socket.sendall(FENCE_ANSWER)


# ---- what idleness costs -------------------------------------------------------------------------


def idle() -> dict[str, tuple[float, float]]:
    """By who shows an unchanging screen: processor seconds a second, with a viewer that waits, and without one."""
    shown = {
        "innkeeper, a screen that tells of changes": idle_of(in_memory().screen),
        "innkeeper, a VGA's linear frame buffer, its guest stopped": idle_of_linear(engine_tells=True),
        "innkeeper, the same under an engine that cannot tell of writes": idle_of_linear(engine_tells=False),
    }
    qemus = idle_of_qemu()
    return shown if qemus is None else shown | {"qemu -vnc, its guest stopped": qemus}


def idle_of_linear(*, engine_tells: bool) -> tuple[float, float]:
    memory = Memory([(0, 4096)])
    card = Card(memory)
    card.bochs(x=WIDTH, y=HEIGHT, depth=32, enable=0x41)
    card.out(0x3C0, 0x20)
    engine = Vm(fastest_software(), memory, 1) if engine_tells else None
    try:
        return idle_of(card.chip.screen)
    finally:
        del engine


def idle_of(screen: Screen) -> tuple[float, float]:
    with server(screen) as vnc:
        host, _, port = vnc.address.rpartition(":")
        with waiting_viewer((host, int(port))):
            watched = processor_share(os.getpid())
        time.sleep(SETTLE_S)
        return watched, processor_share(os.getpid())


def idle_of_qemu() -> tuple[float, float] | None:
    """The same of QEMU with a guest that stands still, or None where there is no QEMU."""
    if shutil.which(QEMU) is None:
        return None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "vnc"
        command = [QEMU, "-S", "-accel", "tcg", "-nodefaults", "-vga", "std", "-vnc", f"unix:{path}"]
        qemu = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not path.exists():
                assert qemu.poll() is None, "QEMU does not start"
                time.sleep(0.05)
            time.sleep(SETTLE_S)
            without = processor_share(qemu.pid)
            with waiting_viewer(str(path)):
                return processor_share(qemu.pid), without
        finally:
            qemu.kill()
            qemu.wait()


@contextmanager
def waiting_viewer(address: str | tuple[str, int]) -> Iterator[None]:
    """One that has seen the screen, and waits for the next change."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as connection:
        connection.connect(address)
        client = Client(connection)
        client.shake_hands()
        client.decodes = False
        client.update()
        client.request(incremental=True)
        time.sleep(SETTLE_S)
        yield


def processor_share(process: int) -> float:
    def used() -> float:
        """Utime and stime (proc(5))."""
        fields = Path(f"/proc/{process}/schedstat").read_text().split() if process != os.getpid() else []
        if fields:
            tasks = Path(f"/proc/{process}/task").iterdir()
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        return time.process_time()

    before, start = used(), time.monotonic()
    time.sleep(IDLE_S)
    return (used() - before) / (time.monotonic() - start)


# ---- the page ------------------------------------------------------------------------------------


def page(rows: list[Row], shares: dict[str, tuple[float, float]]) -> str:
    how = (
        f"From a change of all {WIDTH} × {HEIGHT} pixels until a viewer on this host has its last byte, "
        f"{len(rows[0].times_ms)} changes each, half of them after the screen has rested."
    )
    lines = [
        "## VNC",
        "",
        how,
        "",
        "| encoding | picture | bytes | median | 99 % | worst | goal | |",
        "|---|---|---|---|---|---|---|---|",
        *(line(row) for row in rows),
        "",
        "Processor time that an unchanging screen takes, in parts of one processor:",
        "",
        "| | with a waiting viewer | without |",
        "|---|---|---|",
        *(f"| {who} | {watched:.3%} | {without:.3%} |" for who, (watched, without) in shares.items()),
        "",
        "Text modes and virtio's screens tell of changes too; the engine that cannot tell of writes is KVM. There we go on looking 40 times a second, so",
        "that what appears is seen at once; QEMU looks at a resting screen ever more seldom, down to once in three seconds.",
    ]
    return "\n".join(lines) + "\n"


def line(row: Row) -> str:
    most = quantiles(row.times_ms, n=100, method="inclusive")[-1] if len(row.times_ms) > 1 else row.times_ms[0]
    verdict = "met" if most <= BAR_MS else "met by the median" if median(row.times_ms) <= BAR_MS else "**not met**"
    return (
        f"| {row.encoding} | {row.picture} | {row.bytes_received / 1000:.0f} kB | {median(row.times_ms):.0f} ms | "
        f"{most:.0f} ms | {max(row.times_ms):.0f} ms | at most {BAR_MS:.0f} ms | {verdict} |"
    )


if __name__ == "__main__":
    sys.exit(main())
