"""Saved and restored in the middle of a guest's work with them: virtio's small devices, what they have on the host, and UEFI's variables."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from innkeeper import HostError
from innkeeper.config import (
    BalloonConfig,
    ConsoleConfig,
    ConsoleKind,
    EngineChoice,
    FilesystemConfig,
    FirmwareConfig,
    FirmwareKind,
    InputKind,
    MachineConfig,
    VideoModel,
    VsockConfig,
)
from innkeeper.console import MemoryConsole
from innkeeper.display.picture import Picture
from innkeeper.image import InitramfsRecipe, KernelImage, build_initramfs
from innkeeper.machine import Machine, OutcomeKind
from innkeeper.machine.saving import Wish
from tests.engines import fastest_software

from .conftest import Initramfs, fetched
from .inn import APPEND, LIMIT_S, ended
from .test_saving import GENERIC, running
from .test_uefi import needs_ovmf
from .test_vsock import call

pytestmark = [pytest.mark.boot, pytest.mark.slow]

DEVICES = """
stty -echo; mkdir /mnt; mount -t 9p -o trans=virtio,version=9p2000.L files /mnt; exec 5>>/mnt/log; echo before >&5
for event in /sys/class/input/event*; do
  grep -q tablet $event/device/name && (dd if=/dev/input/${event##*/} bs=24 count=1 2>/dev/null | wc -c | sed 's/^/pointed /') &
done
stty -F /dev/hvc0 -echo; (while read -r word; do echo "heard $word"; done </dev/hvc0) &
clear >/dev/tty1; echo words on the screen >/dev/tty1; echo ready
while read -r word; do
  echo after >&5; cat /mnt/new
  echo "random $(dd if=/dev/hwrng bs=64 count=4 2>/dev/null | wc -c)"
  echo "said $word" >/dev/hvc0; echo more words >/dev/tty1; echo "cpus $(nproc)"; echo done
  [ "$word" = end ] && poweroff -f
done
"""
SMALL = ("virtio_pci", "9p", "9pnet_virtio", "virtio-gpu", "virtio_rng", "virtio_balloon", "virtio_console")


def lit(machine: Machine) -> int:
    """How many bytes of the picture are not black."""
    return sum(map(bool, machine.screenshot().rgb))


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def small(initramfs: Initramfs, tmp_path: Path) -> MachineConfig:
    """9p with an open file, graphics, tablet, console, balloon, entropy; three processors."""
    kernel, files = fetched(GENERIC), tmp_path / "files"
    files.mkdir()
    return MachineConfig(
        kernel=kernel.vmlinuz,
        initrd=initramfs(DEVICES, kernel, modules=(*SMALL, "virtio_input", "evdev")),
        append="console=tty0 console=ttyS0 quiet cryptomgr.notests vt.global_cursor_default=0",
        engine=fastest_software(),
        memory_mib=320,
        vcpus=3,
        filesystems=(FilesystemConfig(source=files, target="files"),),
        video=VideoModel.VIRTIO,
        inputs=(InputKind.TABLET,),
        balloon=BalloonConfig(),
        virtio_consoles=(ConsoleConfig(kind=ConsoleKind.UNIX, path=tmp_path / "hvc"),),
        rng=True,
        timeout_s=LIMIT_S,
    )


def saved_with_its_picture(config: MachineConfig, file: Path) -> Picture:
    """Saves the machine once its guest has given memory back and shows something."""
    with running(config) as (machine, console):
        console.wait_for(b"ready", timeout_s=LIMIT_S)
        assert machine.balloon is not None
        machine.balloon.set_memory(280 << 20)
        until(lambda: machine.balloon is not None and machine.balloon.report()["actual_bytes"] == 40 << 20)
        until(lambda: lit(machine) > 0)
        picture = machine.screenshot()
        machine.save(file)
        assert machine.wait(LIMIT_S).kind is OutcomeKind.SAVED
    return picture


def test_every_small_virtio_device_goes_on(small: MachineConfig, tmp_path: Path) -> None:
    config, files, picture = small, tmp_path / "files", saved_with_its_picture(small, tmp_path / "saved")
    (files / "new").write_text("new on the host\n")
    with running(config, tmp_path / "saved") as (machine, console), socket.socket(socket.AF_UNIX) as hvc:
        assert machine.balloon is not None
        assert machine.balloon.report()["actual_bytes"] == 40 << 20
        assert machine.screenshot() == picture
        hvc.connect(str(tmp_path / "hvc"))
        hvc.settimeout(LIMIT_S)
        hvc.sendall(b"typed\r")
        console.wait_for(b"heard typed", timeout_s=LIMIT_S)
        machine.desk.pointer(10, 20, 100, 100, 0)
        console.wait_for(b"pointed 24", timeout_s=LIMIT_S)
        console.send(b"more\n")
        for words in (b"new on the host", b"random 256", b"cpus 3", b"done"):
            console.wait_for(words, timeout_s=LIMIT_S)
        assert b"said more" in hvc.recv(100)
        until(lambda: lit(machine) > sum(map(bool, picture.rgb)))
        machine.balloon.set_memory(320 << 20)
        until(lambda: machine.balloon is not None and machine.balloon.report()["actual_bytes"] == 0)
        console.send(b"end\n")
        assert machine.wait(LIMIT_S).kind is OutcomeKind.POWERED_OFF
    assert (files / "log").read_text() == "before\nafter\nafter\n"
    (files / "log").unlink()
    with pytest.raises(
        HostError, match=r'shared folder \(9p\): "log", which its guest has open, cannot be opened again'
    ):
        machine_of(config, tmp_path / "saved").start()


def machine_of(config: MachineConfig, file: Path) -> Machine:
    machine = Machine(config)
    machine.restores = file
    return machine


SOCKETS = """#!/bin/sh
. /etc/innkeeper/setup
(vsock connect 6000 </dev/null; echo "it is over") &
sleep 1; echo ready
read -r word
echo hello again | vsock connect 5000 >/dev/null; echo answered
vsock echo 1234; poweroff -f
"""


@pytest.fixture
def sockets(debian: KernelImage, tmp_path: Path) -> MachineConfig:
    compiler = shutil.which("musl-gcc")
    if compiler is None:
        pytest.skip("no musl-gcc (Debian's package musl-tools)")
    program, init = tmp_path / "vsock", tmp_path / "init"
    source = Path(__file__).with_name("vsock.c")
    subprocess.run([compiler, "-static", "-O1", "-o", program, source], check=True, timeout=60)
    init.write_text(SOCKETS)
    recipe = InitramfsRecipe(
        init=init,
        files=((program, "/bin/vsock"),),
        modules=("virtio_pci", "vmw_vsock_virtio_transport"),
        modules_directory=debian.modules,
    )
    return MachineConfig(
        kernel=debian.vmlinuz,
        initrd=build_initramfs(recipe, tmp_path / "initramfs"),
        append=APPEND,
        engine=fastest_software(),
        memory_mib=192,
        vsock=VsockConfig(cid=5, path=tmp_path / "vm"),
        timeout_s=LIMIT_S,
    )


def test_sockets_of_a_guest_end_and_new_ones_begin(sockets: MachineConfig, tmp_path: Path) -> None:
    with running(sockets) as (machine, console), listening(tmp_path / "vm_6000") as held:
        peer, _ = held.accept()
        console.wait_for(b"ready", timeout_s=LIMIT_S)
        machine.suspend()
        machine.resume()
        time.sleep(1)
        assert "it is over" not in console.text, "a pause ends nothing"
        machine.save(tmp_path / "saved")
        peer.close()
    with running(sockets, tmp_path / "saved") as (machine, console), listening(tmp_path / "vm_5000") as listener:
        console.wait_for(b"it is over", timeout_s=LIMIT_S)
        console.send(b"\n")
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(LIMIT_S)
            assert peer.recv(100) == b"hello again\n"
        console.wait_for(b"answered", timeout_s=LIMIT_S)
        with call(tmp_path / "vm", 1234) as line:
            line.sendall(b"echo")
            line.shutdown(socket.SHUT_WR)
            assert line.recv(100) == b"echo"
        assert machine.wait(LIMIT_S).kind is OutcomeKind.POWERED_OFF


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(LIMIT_S)
        yield listener


@needs_ovmf
def test_uefis_variables_are_those_of_then(tmp_path: Path) -> None:
    variables, file = tmp_path / "vars.fd", tmp_path / "saved"
    name = b"setvar kept -guid 11111111-2222-3333-4444-555555555555"
    config = MachineConfig(
        memory_mib=256,
        engine=EngineChoice.BT,
        firmware=FirmwareConfig(kind=FirmwareKind.UEFI, vars=variables),
        timeout_s=LIMIT_S,
        no_reboot=True,
    )

    def type_in(console: MemoryConsole, command: bytes, answer: bytes = b"Shell> ") -> None:
        console.send(command + b"\r")
        console.wait_for(answer, timeout_s=LIMIT_S)

    with running(config) as (machine, console):
        console.wait_for(b"to skip", timeout_s=LIMIT_S)
        type_in(console, b"\x1b")
        type_in(console, name + b" -nv -bs =0x1234")
        machine.save_as(Wish(file, ends=False))
        then = variables.read_bytes()
        type_in(console, name + b" -nv -bs =0x5678")
        type_in(console, name, b"78 56")
        assert variables.read_bytes() != then
    with running(config, file) as (machine, console):
        assert variables.read_bytes() == then
        type_in(console, name, b"34 12")
        type_in(console, name + b" -nv -bs =0x9abc")
        type_in(console, name, b"BC 9A")
        console.send(b"reset -s\r")
        assert ended(machine, console, LIMIT_S).kind is OutcomeKind.POWERED_OFF
