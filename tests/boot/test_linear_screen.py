"""A guest whose picture is in memory, before a viewer: while it rests nobody looks at it, and what it draws then is seen."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from innkeeper import Machine, MachineConfig, MemoryConsole
from innkeeper.config import DiskConfig, EngineChoice, GraphicsConfig, VideoModel
from innkeeper.display.rfb import VncServer
from innkeeper.errors import HostError
from innkeeper.host.packages import VIDEO_BIOS
from innkeeper.machine import OutcomeKind
from tests.display.rfb.client import Client
from tests.engines import SOFTWARE, fastest_software, skip_unless_available

from .conftest import Initramfs, fetched
from .inn import LIMIT_S, ended

pytestmark = [
    pytest.mark.boot,
    pytest.mark.slow,
    pytest.mark.skipif(not VIDEO_BIOS.exists(), reason="no Debian package seabios"),
]

SIZE = (1024, 768)
REST_S = 0.3  # a dozen looks, if it is looked at
# A boot sector: VBE mode 144h, 1024 x 768 in 32 bits, with a linear frame buffer; then for each key FS gets a limit of
# 4 GiB by way of protected mode, and
#   addl $0x010203, %fs:4096(%ebx)   ; EBX: where VBE says that the frame buffer is
SECTOR = (
    bytes.fromhex(
        "31c08ed88ec08ed0bc0070b8014fb94401bf0005cd10b8024fbb4441cd1031c0cd16fa660f0116507c0f20c00c010f22"
        "c0b908008ee124fe0f22c0668b1e280564676681830010000003020100fbebce0f00587c000066900000000000000000"
        "ffff00000093cf00"
    ).ljust(510, b"\0")
    + b"\x55\xaa"
)
DRAWN = 4096 // 4


# Linux's own console in such a picture, on which several programs draw at a time.
SCRIPT = """
clear >/dev/tty1; echo ready $(cat /proc/fb)
while read -r word; do
  (seq 40 >/dev/tty1) & echo "$word" >/dev/tty1; wait; echo done "$word"
done
poweroff -f
"""


def wait_for_mode(machine: Machine) -> None:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        try:
            picture = machine.screenshot()
        except HostError:  # it shows nothing yet
            pass
        else:
            if (picture.width, picture.height) == SIZE:
                return
        time.sleep(0.1)
    pytest.fail("the guest does not set its mode")


def comes_to_rest(server: VncServer) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        looks = server.looks
        time.sleep(REST_S)
        if server.looks == looks:
            return True
    return False


@pytest.mark.parametrize(("engine", "vcpus"), [(engine, 1 + index) for index, engine in enumerate(SOFTWARE)])
def test_a_resting_picture_in_memory_is_left_alone_until_the_guest_draws(
    tmp_path: Path, engine: EngineChoice, vcpus: int
) -> None:
    skip_unless_available(engine)
    disk, address = tmp_path / "disk", tmp_path / "vnc"
    disk.write_bytes(SECTOR.ljust(1 << 20, b"\0"))
    config = MachineConfig(memory_mib=64, vcpus=vcpus, engine=engine, disks=(DiskConfig(path=disk),), timeout_s=LIMIT_S)
    with Machine(config, console=MemoryConsole()) as machine, socket.socket(socket.AF_UNIX) as connection:
        machine.start()
        wait_for_mode(machine)
        with viewed(machine, address, connection) as (server, client):
            for drawn in range(1, 4):
                assert comes_to_rest(server)
                client.request(incremental=True)
                machine.desk.type("x")  # beside the server, which would look sooner after a key of its viewer's
                client.hear_update()
                assert client.pixels[DRAWN] == drawn * 0x010203


@contextmanager
def viewed(machine: Machine, address: Path, connection: socket.socket) -> Iterator[tuple[VncServer, Client]]:
    """A server of its screen, and a viewer that has seen it."""
    assert machine.desk.screen is not None
    server = VncServer(GraphicsConfig(socket=address), machine.desk.screen, machine.desk)
    server.start()
    try:
        connection.connect(str(address))
        client = Client(connection)
        client.shake_hands()
        client.update()
        yield server, client
    finally:
        server.close()


def same(client: Client, machine: Machine) -> bool:
    picture = machine.screenshot()
    shown = (pixel.to_bytes(3, "big") for pixel in client.pixels)
    return (client.width, client.height) == (picture.width, picture.height) and b"".join(shown) == picture.rgb


def test_a_viewer_of_a_kernels_console_misses_nothing_however_often_it_rests(
    tmp_path: Path, initramfs: Initramfs
) -> None:
    kernel = fetched("linux-image-amd64")  # the cloud's has no driver
    config = MachineConfig(
        kernel=kernel.vmlinuz,
        initrd=initramfs(SCRIPT, kernel, modules=("bochs",)),
        append="console=ttyS0 quiet cryptomgr.notests vt.global_cursor_default=0",
        vcpus=2,
        video=VideoModel.VGA,
        engine=EngineChoice(fastest_software()),
        timeout_s=LIMIT_S,
    )
    serial, address = MemoryConsole(), tmp_path / "vnc"
    with Machine(config, console=serial) as machine, socket.socket(socket.AF_UNIX) as connection:
        machine.start()
        serial.wait_for(b"ready", timeout_s=LIMIT_S)
        wait_for_mode(machine)
        with viewed(machine, address, connection) as (server, client):
            for turn in range(4):
                assert comes_to_rest(server)
                client.request(incremental=True)
                serial.send(f"turn-{turn}\n".encode())
                serial.wait_for(f"done turn-{turn}".encode(), timeout_s=LIMIT_S)
                assert comes_to_rest(server)
                client.hear_update()
                while not same(client, machine):
                    client.update(incremental=True)
            serial.send(b"\x04")
            assert ended(machine, serial, LIMIT_S).kind is OutcomeKind.POWERED_OFF
