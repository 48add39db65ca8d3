"""Sockets between Debian's kernel and programs of the host, opened by either."""

import hashlib
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from innkeeper.config import EngineChoice, MachineConfig, VsockConfig
from innkeeper.console import MemoryConsole
from innkeeper.image import InitramfsRecipe, KernelImage, build_initramfs
from innkeeper.machine import Machine, OutcomeKind

from .inn import APPEND, LIMIT_S, ended

pytestmark = [pytest.mark.boot, pytest.mark.slow]

PROGRAM = Path(__file__).with_name("vsock.c")
DATA = bytes(range(251)) * 12_000  # 3 MB: many times what a side has room for
SCRIPT = """#!/bin/sh
. /etc/innkeeper/setup
echo nobody | vsock connect 4000 || echo refused
echo hello from the guest | vsock connect 5000 >/tmp/answer; md5sum </tmp/answer | sed 's/^/sum /'
vsock echo 1234 && echo echoed
poweroff -f
"""


@pytest.fixture(scope="session")
def initrd(debian: KernelImage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("musl-gcc")
    if compiler is None:
        pytest.skip("no musl-gcc (Debian's package musl-tools)")
    folder = tmp_path_factory.mktemp("vsock")
    program, init = folder / "vsock", folder / "init"
    subprocess.run([compiler, "-static", "-O1", "-Wall", "-Werror", "-o", program, PROGRAM], check=True, timeout=60)
    init.write_text(SCRIPT)
    recipe = InitramfsRecipe(
        init=init,
        files=((program, "/bin/vsock"),),
        modules=("virtio_pci", "vmw_vsock_virtio_transport"),
        modules_directory=debian.modules,
    )
    return build_initramfs(recipe, folder / "initramfs.cpio.gz")


class Program:
    """A program of the host on which the guest calls: hears it to its end, and answers with `DATA`."""

    def __init__(self, path: Path) -> None:
        self.heard = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        peer, _ = self._listener.accept()
        with peer, self._listener:
            self.heard = read_to_end(peer)
            peer.sendall(DATA)


def read_to_end(peer: socket.socket) -> bytes:
    data = bytearray()
    while piece := peer.recv(1 << 16):
        data += piece
    return bytes(data)


def send_all(line: socket.socket, data: bytes) -> None:
    line.sendall(data)
    line.shutdown(socket.SHUT_WR)


def call(path: Path, port: int) -> socket.socket:
    """A connection to a port of the guest's, as soon as somebody listens there."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(LIMIT_S)
        line.connect(str(path))
        line.sendall(f"CONNECT {port}\n".encode())
        answer = b""
        while not answer.endswith(b"\n") and (byte := line.recv(1)):
            answer += byte
        if answer.startswith(b"OK "):
            return line
        line.close()
        time.sleep(0.1)
    raise AssertionError(f"nobody listens at port {port}")


def test_both_sides_connect(debian: KernelImage, initrd: Path, tmp_path: Path, engine: EngineChoice) -> None:
    path = tmp_path / "vm"
    config = MachineConfig(
        kernel=debian.vmlinuz,
        initrd=initrd,
        append=APPEND,
        engine=engine,
        vsock=VsockConfig(cid=5, path=path),
        timeout_s=LIMIT_S,
    )
    program, serial = Program(tmp_path / "vm_5000"), MemoryConsole()
    with Machine(config, console=serial) as machine:
        machine.start()
        assert path.stat().st_mode & 0o777 == 0o600
        with call(path, 1234) as sender:
            sending = threading.Thread(target=send_all, args=(sender, DATA), daemon=True)
            sending.start()
            echo = read_to_end(sender)
            sending.join()
        outcome = ended(machine, serial, LIMIT_S)
    assert outcome.kind is OutcomeKind.POWERED_OFF, serial.text[-2000:]
    assert echo == DATA
    assert program.heard == b"hello from the guest\n"
    lines = serial.text.splitlines()
    assert {"refused", f"sum {hashlib.md5(DATA).hexdigest()}  -", "echoed"} <= set(lines), serial.text[-2000:]
    assert not path.exists()
