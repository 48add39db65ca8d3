"""A whole Debian: made without root, started by firmware and GRUB from a virtio disk among all other devices, looked at,
killed, and started again elsewhere.
"""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from innkeeper.config import EngineChoice
from innkeeper.image.rootfs import RootfsRecipe, build_rootfs
from innkeeper.image.rootfs.build import TOOLS
from innkeeper.storage import Conversion, convert
from tests.boot.glyphs import text_of
from tests.engines import skip_unless_available

missing = sorted(package for tool, package in TOOLS.items() if shutil.which(tool) is None)
pytestmark = [
    pytest.mark.boot,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing), reason=f"not on this host: {', '.join(missing)}"),
    pytest.mark.skipif(not Path("/usr/share/seabios/bios-256k.bin").exists(), reason="no SeaBIOS: package seabios"),
]

KERNEL = "linux-image-amd64"  # with drivers for old hardware, too
PASSWORD = "geheim"
LIMIT_S = 300.0
INN = [sys.executable, "-m", "innkeeper.cli"]
DRIVERS = {
    "ata_piix": 1,
    "ahci": 1,
    "bochs-drm": 1,
    "e1000": 1,
    "virtio-pci": 8,
}  # by lspci: how many functions have each
VIRTIO_DRIVERS = {
    *("virtio_blk", "virtio_net", "virtio_console", "virtio_rng", "virtio_balloon", "virtio_input"),
    *("9pnet_virtio", "vmw_vsock_virtio_transport"),
}
BLOCK_DEVICES = {"vda": "disk", "sda": "disk", "sdb": "disk", "sr0": "rom"}
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

    def ask(self, command: str) -> str:
        """Types a command at the shell; gives its answer."""
        begin = len(self.said)
        self.type(f"echo 'the'' answer'; {command}; echo 'the'' end'")  # the echo of the line has neither
        self.wait_for("the end")
        return self.said[begin:].replace("\r\n", "\n").partition("the answer\n")[2].partition("the end")[0]

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
    recipe = RootfsRecipe(password=PASSWORD, size_gib=2, hostname="debian", kernel=KERNEL, packages=("pciutils",))
    raw = build_rootfs(recipe, folder / "disk.raw")
    convert(raw, folder / "disk.qcow2", Conversion(source_format="raw", image_format="qcow2"))
    raw.unlink()
    return folder / "disk.qcow2"


def with_all_devices(disk: Path, folder: Path) -> list[str]:
    """A machine with one of each device. The disk that is given first is the one to boot from."""
    options = [*INN, "run", "--engine", "bt", "--memory", "512", "--disk", f"path={disk},bus=virtio,format=qcow2"]
    for bus in ("sata", "ide"):
        (folder / bus).write_bytes(bytes(1 << 20))
        options += ["--disk", f"path={folder / bus},bus={bus},format=raw"]
    options += ["--disk", "device=cdrom,bus=ide", "--network", "user", "--network", "user,model=e1000"]
    options += ["--filesystem", f"source={folder},target=share", "--vsock", f"cid=7,path={folder / 'vsock'}"]
    options += ["--rng", "builtin", "--balloon", "on", "--input", "tablet", "--virtio-console", "none"]
    return [*options, "--control", f"unix:{folder / 'control'}"]


def look_at_devices(guest: Serial) -> None:
    """Every device has the driver that Linux has for it."""
    guest.ask("udevadm settle")
    assert Counter(re.findall(r"Kernel driver in use: (\S+)", guest.ask("lspci -k"))) == Counter(DRIVERS)
    assert set(guest.ask("basename -a $(readlink /sys/bus/virtio/devices/*/driver)").split()) == VIRTIO_DRIVERS
    found = dict(line.split() for line in guest.ask("lsblk -dno NAME,TYPE").splitlines() if line)
    assert found == BLOCK_DEVICES
    cards = guest.ask("ip -br link; ls -l /sys/class/net/*/device/driver")
    assert (cards.count("52:54:00:"), cards.count("/virtio_net\n"), cards.count("/e1000\n")) == (2, 1, 1)
    log = guest.ask("dmesg")
    for said in (
        "virtio_blk virtio0: [vda]",
        "Attached scsi CD-ROM sr0",
        "fb0: bochs-drm",
        "Intel(R) PRO/1000 Network",
    ):
        assert said in log
    assert "Call Trace" not in log


def wait_for_picture(control: Path, words: str) -> None:
    """Until they can be read on the screen."""
    deadline, said = time.monotonic() + LIMIT_S, ""
    while words not in said:
        assert time.monotonic() < deadline, said
        command = [*INN, "screenshot", "--control", f"unix:{control}", "--format", "ppm", "-"]
        said = text_of(subprocess.run(command, capture_output=True, check=True, timeout=LIMIT_S).stdout)


def test_all_devices_work_and_what_was_synced_survives_a_kill(disk: Path, tmp_path: Path) -> None:
    skip_unless_available(EngineChoice.BT)
    ours = Serial(with_all_devices(disk, tmp_path))
    try:
        ours.log_in()
        wait_for_picture(tmp_path / "control", "\ndebian login:")
        look_at_devices(ours)
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
