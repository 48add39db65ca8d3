"""Debian's installer from its disc: the boot menu, and by keys that a VNC client sends the language page."""

import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper.config import ConsoleConfig, ConsoleKind, DiskConfig, EngineChoice, GraphicsConfig, MachineConfig
from innkeeper.display.picture import Picture
from innkeeper.errors import HostError
from innkeeper.machine import Machine
from tests.engines import skip_unless_available

from .test_discs import need

pytestmark = [pytest.mark.boot, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
VNCDO = Path(sys.executable).with_name("vncdo")
LIMIT_S = 240.0
RED, GREY, BLUE = (0xAA, 0, 0), (0xAA, 0xAA, 0xAA), (0, 0, 0xAA)  # of the installer's dialogues


def colours(picture: Picture) -> Counter[tuple[int, ...]]:
    """How many pixels have each colour."""
    return Counter(zip(picture.rgb[::3], picture.rgb[1::3], picture.rgb[2::3], strict=True))


def is_menu(picture: Picture) -> bool:
    """ISOLINUX's: a drawing of many colours, with a menu in it."""
    return (picture.width, picture.height) == (640, 480) and len(colours(picture)) > 500


def is_language_page(picture: Picture) -> bool:
    """A grey dialogue on blue, with one red bar: the language that is chosen."""
    found, pixels = colours(picture), picture.width * picture.height
    return (
        found[GREY] > pixels // 2
        and found[BLUE] > pixels // 100
        and 1000 < found[RED] < pixels // 20
        and picture.height > 400
    )


def wait_for(machine: Machine, shown: Callable[[Picture], bool]) -> Picture:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        try:
            picture = machine.desk.picture()
        except HostError:
            picture = None  # nothing is shown yet
        if picture is not None and shown(picture):
            return picture
        time.sleep(0.25)
    raise AssertionError(f"after {LIMIT_S:g} s the screen does not show it")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_keys_over_vnc_lead_from_the_menu_to_the_language_page(tmp_path: Path) -> None:
    need("seabios", "isolinux", "syslinux-common", "debian-installer-12-netboot-amd64")
    skip_unless_available(EngineChoice.BT)
    if not VNCDO.exists():
        pytest.skip("no vncdo: PyPI's vncdotool")
    iso, port = tmp_path / "installer.iso", free_port()
    subprocess.run([ROOT / "scripts/make-installer-iso", iso], check=True, capture_output=True)
    config = MachineConfig(
        engine=EngineChoice.BT,
        memory_mib=1024,
        disks=(DiskConfig.cdrom(iso),),
        graphics=(GraphicsConfig(port=port),),
        console=ConsoleConfig(kind=ConsoleKind.NONE),
    )
    with Machine(config) as machine:
        machine.start()
        wait_for(machine, is_menu)
        while is_menu(machine.desk.picture()):  # the menu shows before it listens
            subprocess.run([VNCDO, "-s", f"127.0.0.1::{port}", "key", "enter", "pause", "2"], check=True, timeout=60)
        wait_for(machine, is_language_page)
