"""A whole Debian: made without root, started by firmware and GRUB from a virtio disk, killed, and started again elsewhere."""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from innkeeper.config import EngineChoice
from innkeeper.image.rootfs import RootfsRecipe, build_rootfs
from innkeeper.image.rootfs.build import TOOLS
from innkeeper.storage import Conversion, convert
from tests.engines import skip_unless_available

missing = sorted(package for tool, package in TOOLS.items() if shutil.which(tool) is None)
pytestmark = [
    pytest.mark.boot,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing), reason=f"not on this host: {', '.join(missing)}"),
    pytest.mark.skipif(not Path("/usr/share/seabios/bios-256k.bin").exists(), reason="no SeaBIOS: package seabios"),
]

PASSWORD = "geheim"
LIMIT_S = 300.0
QEMU = ["qemu-system-x86_64", "-accel", "tcg", "-m", "512", "-nographic", "-no-reboot", "-drive"]


class Serial:
    """A machine's process, spoken to over its serial console on standard input and output."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.said = ""

    def wait_for(self, words: str) -> None:
        """Until it says so, after what was waited for last."""
        assert self.process.stdout is not None
        begin, deadline = len(self.said), time.monotonic() + LIMIT_S
        while words not in self.said[begin:]:
            assert time.monotonic() < deadline, self.said[-3000:]
            if select.select([self.process.stdout], [], [], 1)[0]:
                data = os.read(self.process.stdout.fileno(), 65536)
                assert data, self.said[-3000:]
                self.said += data.decode(errors="replace")

    def type(self, words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(words.encode() + b"\n")
        self.process.stdin.flush()

    def log_in(self) -> None:
        self.wait_for("login: ")
        self.type("root")
        self.wait_for("assword: ")
        self.type(PASSWORD)
        self.wait_for(":~# ")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rootfs")
    raw = build_rootfs(RootfsRecipe(password=PASSWORD, size_gib=2, hostname="whole"), folder / "disk.raw")
    convert(raw, folder / "disk.qcow2", Conversion(source_format="raw", image_format="qcow2"))
    raw.unlink()
    return folder / "disk.qcow2"


def test_what_was_synced_survives_a_kill_and_another_system_reads_it(disk: Path) -> None:
    skip_unless_available(EngineChoice.BT)
    command = [sys.executable, "-m", "innkeeper.cli", "run", "--engine", "bt", "--memory", "512", "--disk"]
    ours = Serial([*command, f"path={disk},bus=virtio,format=qcow2", "--network", "user"])
    try:
        ours.log_in()
        ours.type(
            "lsblk -no NAME,FSTYPE /dev/vda; networkctl --no-pager status | grep Address; systemctl --failed | head -3"
        )
        ours.wait_for("vda3 ext4")
        ours.wait_for("10.0.2.15")
        ours.wait_for("0 loaded units")
        ours.type("seq 100000 | sha256sum > kept; sync; echo syn''ced")
        ours.wait_for("synced")
    finally:
        ours.kill()
    if shutil.which("qemu-img") is None or shutil.which("qemu-system-x86_64") is None:
        pytest.skip("no QEMU on this host to look at the disk: packages qemu-utils, qemu-system-x86")
    checked = subprocess.run(["qemu-img", "check", disk], capture_output=True, text=True, check=False)
    assert checked.returncode in (0, 3), checked.stdout + checked.stderr  # 3: clusters that nothing leads to
    theirs = Serial([*QEMU, f"file={disk},if=virtio,format=qcow2"])
    try:
        theirs.log_in()
        theirs.type("seq 100000 | sha256sum | cmp - kept && echo the sa''me")
        theirs.wait_for("the same")
    finally:
        theirs.kill()
