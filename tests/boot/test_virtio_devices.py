"""Debian's drivers on the small virtio devices: who is bound, and that each does its work."""

import json
import socket
import time
from pathlib import Path

import pytest

from innkeeper.config import BalloonConfig, ConsoleConfig, ConsoleKind, EngineChoice, MachineConfig
from innkeeper.console import MemoryConsole
from innkeeper.image import KernelImage
from innkeeper.machine import Machine, OutcomeKind
from tests.engines import fastest_software

from .conftest import Initramfs
from .inn import APPEND, LIMIT_S, ended, guest, inn_run

pytestmark = [pytest.mark.boot, pytest.mark.slow]

MODULES = ("virtio_pci", "virtio_rng", "virtio_balloon", "virtio_console", "virtio_input")
SCRIPT = """
for d in /sys/bus/virtio/devices/*; do echo driver $(cat $d/device) $(basename $(readlink $d/driver)); done
dd if=/dev/hwrng bs=64 count=4 2>/dev/null | wc -c | sed 's/^/random /'
grep Name /proc/bus/input/devices
echo hello from hvc >/dev/hvc0
sleep 2; awk '/MemFree/ { print "free", int($2 / 1024) }' /proc/meminfo; poweroff -f
"""


def test_every_device_is_bound_and_works(
    debian: KernelImage, initramfs: Initramfs, tmp_path: Path, engine: EngineChoice
) -> None:
    stats, said = tmp_path / "stats.json", tmp_path / "hvc"
    options = guest(debian.vmlinuz, initramfs(SCRIPT, modules=MODULES), engine=engine)
    devices = ["--rng", "builtin", "--balloon", "memory=300", "--input", "keyboard", "--input", "tablet"]
    done = inn_run(*options, *devices, "--virtio-console", f"file:{said}", "--stats", str(stats))

    assert done.status == 0, done.said[-2000:] + done.complaint
    bound = {line.split()[2] for line in done.lines if line.startswith("driver ")}
    assert bound == {"virtio_rng", "virtio_balloon", "virtio_console", "virtio_input"}
    assert "random 256" in done.lines
    assert {'N: Name="Innkeeper keyboard"', 'N: Name="Innkeeper tablet"'} <= set(done.lines)
    assert b"hello from hvc" in said.read_bytes()
    given = json.loads(stats.read_text())["balloon"]["inflated_bytes"]
    assert given == (512 - 300) << 20


def test_a_balloon_follows_its_target_and_tells_of_the_guests_memory(
    debian: KernelImage, initramfs: Initramfs, tmp_path: Path
) -> None:
    """Ends by what is typed at a virtio console."""
    script = "echo ready >/dev/hvc0; read -r word </dev/hvc0; echo typed $word; poweroff -f"
    config = MachineConfig(
        kernel=debian.vmlinuz,
        initrd=initramfs(script, modules=MODULES),
        append=APPEND,
        engine=fastest_software(),
        balloon=BalloonConfig(),
        virtio_consoles=(ConsoleConfig(kind=ConsoleKind.UNIX, path=tmp_path / "hvc"),),
        timeout_s=LIMIT_S,
    )
    serial = MemoryConsole()
    with Machine(config, console=serial) as machine, socket.socket(socket.AF_UNIX) as hvc:
        machine.start()
        hvc.connect(str(tmp_path / "hvc"))
        hvc.settimeout(LIMIT_S)
        assert b"ready" in hvc.recv(100)
        balloon = machine.balloon
        assert balloon is not None
        balloon.set_memory(300 << 20)
        while balloon.report()["actual_bytes"] < (512 - 300) << 20:
            time.sleep(0.05)
        balloon.refresh()
        while not 0 < balloon.report()["statistics"].get("free_bytes", 0) <= 300 << 20:
            time.sleep(0.05)
            balloon.refresh()
        hvc.sendall(b"something\r")
        assert ended(machine, serial, LIMIT_S).kind is OutcomeKind.POWERED_OFF
    assert "typed something" in serial.text
