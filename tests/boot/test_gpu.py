"""Debian's driver on the virtio graphics device: a console in its framebuffer, and the sizes that viewers want."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper import HostError, Machine, MachineConfig, MemoryConsole
from innkeeper.config import EngineChoice, GraphicsConfig, GraphicsKind, VideoModel
from innkeeper.image import KernelImage
from innkeeper.machine import OutcomeKind
from tests.engines import fastest_software

from .conftest import Initramfs, fetched
from .inn import LIMIT_S, ended

pytestmark = [pytest.mark.boot, pytest.mark.slow]

CARD = "/sys/class/drm/card0-Virtual-1"
SCRIPT = f"""
echo driver $(basename $(readlink /sys/class/drm/card0/device/driver)) $(cat /proc/fb)
echo edid $(wc -c <{CARD}/edid)
clear >/dev/tty1; echo words on the screen >/dev/tty1; echo drawn
until grep -q 896x604 {CARD}/modes; do usleep 100000; done
echo first mode $(head -n 1 {CARD}/modes)
read -r answer; poweroff -f
"""
FONT_HEIGHT = 16
SEABIOS = Path("/usr/share/seabios/bios-256k.bin")


@pytest.fixture(scope="module")
def generic() -> KernelImage:
    return fetched("linux-image-amd64")  # the cloud's has no driver


def wait_until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def lit_rows(machine: Machine) -> list[int]:
    """How many pixels of each row are not black."""
    picture = machine.screenshot()
    row = 3 * picture.width
    lines = (picture.rgb[at : at + row] for at in range(0, len(picture.rgb), row))
    return [sum(any(line[at : at + 3]) for at in range(0, row, 3)) for line in lines]


def test_a_console_is_in_its_framebuffer_and_a_viewers_size_is_offered(
    generic: KernelImage, initramfs: Initramfs
) -> None:
    config = MachineConfig(
        kernel=generic.vmlinuz,
        initrd=initramfs(SCRIPT, generic, modules=("virtio_pci", "virtio-gpu")),
        append="console=tty0 console=ttyS0 quiet cryptomgr.notests vt.global_cursor_default=0",
        video=VideoModel.VIRTIO,
        engine=EngineChoice(fastest_software()),
        timeout_s=LIMIT_S,
    )
    serial = MemoryConsole()
    with Machine(config, console=serial) as machine:
        machine.start()
        with pytest.raises(HostError, match="no picture yet"):
            machine.screenshot()
        wait_until(lambda: "drawn" in serial.text, serial.text)
        assert "driver virtio-pci 0 virtio_gpudrmfb" in serial.text
        assert "edid 128" in serial.text
        wait_until(lambda: any(lit_rows(machine)), "a dark screen")
        picture, rows = machine.screenshot(), lit_rows(machine)
        assert (picture.width, picture.height) == (1024, 768)
        assert 5 < max(rows) < 200
        assert not any(rows[FONT_HEIGHT:])  # one line of text
        screen = machine.desk.screen
        assert screen is not None
        screen.prefer(900, 604)  # a console cannot become larger than it began
        wait_until(lambda: "first mode" in serial.text, serial.text)
        assert "first mode 896x604" in serial.text
        wait_until(lambda: machine.screenshot().height == 604, "the old size")
        assert machine.screenshot().width == 896
        serial.send(b"\r")
        assert ended(machine, serial, LIMIT_S).kind is OutcomeKind.POWERED_OFF
        assert machine.screenshot().width


@pytest.mark.skipif(not SEABIOS.exists(), reason="no Debian package seabios")
def test_a_bios_has_nothing_to_show_there_and_speaks_on_the_serial_line() -> None:
    config = MachineConfig(
        memory_mib=64,
        video=VideoModel.VIRTIO,
        graphics=(GraphicsConfig(kind=GraphicsKind.VNC),),
        engine=EngineChoice(fastest_software()),
        timeout_s=LIMIT_S,
    )
    serial = MemoryConsole()
    with Machine(config, console=serial) as machine:
        machine.start()
        serial.wait_for(b"No bootable device", timeout_s=60)
        with pytest.raises(HostError, match="no picture yet"):
            machine.screenshot()
