"""Installations as users start them: to the end, cut short at any point, and by documents that the real virt-install makes."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from innkeeper.image import KernelImage

from .conftest import Initramfs
from .inn import LIMIT_S
from .test_machines import INIT, User

pytestmark = [pytest.mark.boot, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]

INSTALLS = "echo installed; sleep 1; reboot -f"
TURNS_OFF = "echo installed; poweroff -f"
NEVER_ENDS = "echo installing; while :; do sleep 1; done"


class Installer:
    """A folder that `--location` takes, and the options of a machine that is installed from it."""

    def __init__(self, home: Path, kernel: Path, installer: Path, installed: Path) -> None:
        self.user, self.home = User(home), home
        tree = home / "tree"
        (tree / "install.amd").mkdir(parents=True)
        shutil.copy(kernel, tree / "install.amd" / "vmlinuz")
        shutil.copy(installer, tree / "install.amd" / "initrd.gz")
        self.disk = home / "disk.qcow2"
        later = f"kernel={kernel},initrd={installed},kernel_args=console=ttyS0 quiet"
        self.words = [
            "install", "--name", "one", "--memory", "256", "--location", str(tree), "--boot", later, "--network", "none",
            "--extra-args", "console=ttyS0 quiet", "--disk", f"path={self.disk},size=0.1,sparse=no", "--graphics", "none",
        ]  # fmt: skip

    def start(self, *words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "innkeeper.cli", *self.words, *words]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=self.user.environment
        )

    def kill(self, lock: str) -> None:
        """The process that holds it, which says there who it is."""
        os.kill(int((self.home / "run/innkeeper" / lock).read_text()), signal.SIGKILL)

    def has_left_nothing(self) -> bool:
        state = self.home / "state/innkeeper"
        listed = self.user.inn("list", "--all", "--name")
        files = list((state / "installations").glob("*")) if (state / "installations").exists() else []
        return listed.strip() == "" and not self.disk.exists() and not files

    def wait_for_the_manager(self) -> None:
        """Until it is not at it any more: it hears that the command was killed when it has something to say."""
        with suppress(FileNotFoundError), (self.home / "state/innkeeper/installations/one/lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

    def wait_for_words_in_the_log(self, words: str) -> None:
        log, deadline = self.home / "state/innkeeper/one.log", time.monotonic() + LIMIT_S
        while words not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)

    def wait_until_it_runs(self) -> None:
        deadline = time.monotonic() + LIMIT_S
        while "one" not in self.user.inn("list", "--name"):
            assert time.monotonic() < deadline, (self.home / "state/innkeeper/one.log").read_text()
            time.sleep(0.2)


def wait_until_told(command: "subprocess.Popen[str]") -> None:
    """That the machine runs: until then a manager or a machine that is killed undoes it."""
    assert command.stderr is not None
    while "Domain installation started." not in command.stderr.readline():
        assert command.poll() is None


Make = Callable[[str], Installer]


@pytest.fixture
def make(debian: KernelImage, initramfs: Initramfs, tmp_path: Path) -> Iterator[Make]:
    made = []

    def installer(script: str) -> Installer:
        made.append(Installer(tmp_path, debian.vmlinuz, initramfs(script), initramfs(INIT)))
        return made[-1]

    yield installer
    for each in made:
        if "one" in each.user.inn("list", "--name"):
            each.user.inn("destroy", "one")


@pytest.mark.parametrize("script", [INSTALLS, TURNS_OFF])
def test_a_machine_restarts_from_what_was_installed(make: Make, script: str) -> None:
    installer = make(script)
    with installer.start("--wait") as command:
        assert command.wait(LIMIT_S) == 0
        assert command.stderr is not None
        assert "Domain installation completed" in command.stderr.read()
    assert "running" in installer.user.inn("domstate", "one")
    assert "you said hello" in installer.user.talk("one", "hello")
    assert not (installer.home / "state/innkeeper/installations").exists() or not list(
        (installer.home / "state/innkeeper/installations").iterdir()
    )
    assert installer.disk.exists()


def test_it_restarts_also_when_nobody_waits(make: Make) -> None:
    installer = make(INSTALLS)
    with installer.start("--noautoconsole") as command:
        assert command.wait(LIMIT_S) == 0
    installer.wait_for_words_in_the_log("one starts from what was installed")
    installer.wait_until_it_runs()
    assert "you said hello" in installer.user.talk("one", "hello")


def test_it_can_be_left_off(make: Make) -> None:
    installer = make(INSTALLS)
    with installer.start("--wait", "--noreboot") as command:
        assert command.wait(LIMIT_S) == 0
    deadline = time.monotonic() + LIMIT_S
    while "one" in installer.user.inn("list", "--name"):
        assert time.monotonic() < deadline
    assert "shut off" in installer.user.inn("domstate", "one")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_installation_that_is_interrupted_leaves_nothing(make: Make, number: signal.Signals) -> None:
    installer = make(NEVER_ENDS)
    for _ in range(2):  # the same command can be run again
        with installer.start("--wait") as command:
            installer.wait_until_it_runs()
            time.sleep(0.5)
            command.send_signal(number)
            assert command.wait(LIMIT_S) == 128 + number
            assert command.stderr is not None
            assert f"is removed, and {installer.disk}; the same command can be run again" in command.stderr.read()
        assert installer.has_left_nothing()


def test_an_interruption_at_any_time_leaves_a_machine_or_nothing(make: Make) -> None:
    installer = make(NEVER_ENDS)
    for tenth in range(4, 17, 2):
        with installer.start("--noautoconsole") as command:
            time.sleep(tenth / 10)
            command.send_signal(signal.SIGINT)
            status = command.wait(LIMIT_S)
            assert command.stderr is not None
            said = command.stderr.read()
        assert status in (0, 130, -signal.SIGINT), said  # the last when it was about to leave, all being done
        assert "Traceback" not in said
        if status != 130 and "Domain installation started." in said:
            installer.user.inn("destroy", "one")
            installer.user.inn("undefine", "one", "--remove-all-storage")
        assert installer.has_left_nothing(), said


def test_an_installation_whose_machine_is_killed_leaves_nothing(make: Make) -> None:
    installer = make(NEVER_ENDS)
    for _ in range(2):  # the same command can be run again
        with installer.start("--wait") as command:
            wait_until_told(command)
            installer.kill("one/lock")
            assert command.wait(LIMIT_S) == 2
            assert command.stderr is not None
            said = command.stderr.read()
            assert f"is removed, and {installer.disk}; the same command can be run again" in said
            assert "machine one has ended, and its installer had not" in said
        assert installer.has_left_nothing()


def test_an_installation_goes_on_whose_manager_is_killed(make: Make) -> None:
    installer = make("sleep 4; echo installed; reboot -f")
    with installer.start("--wait") as command:
        wait_until_told(command)
        installer.kill("manager.lock")
        assert command.wait(LIMIT_S) == 0, command.stderr and command.stderr.read()
    installer.wait_until_it_runs()
    assert "you said hello" in installer.user.talk("one", "hello")


def test_a_manager_that_is_killed_at_any_time_leaves_a_machine_or_nothing(make: Make) -> None:
    installer = make(NEVER_ENDS)
    for tenth in range(1, 13, 2):
        installer.user.inn("list")
        with installer.start("--noautoconsole") as command:
            time.sleep(tenth / 10)
            installer.kill("manager.lock")
            status = command.wait(LIMIT_S)
            assert command.stderr is not None
            said = command.stderr.read()
        assert "Traceback" not in said
        deadline = time.monotonic() + LIMIT_S
        while not (gone := installer.has_left_nothing()) and "one" not in installer.user.inn("list", "--name"):
            assert time.monotonic() < deadline, said
            time.sleep(0.2)
        assert gone == (status != 0), f"status {status}: {said}"
        if not gone:
            installer.user.inn("destroy", "one")
            installer.user.inn("undefine", "one", "--remove-all-storage")
        assert installer.has_left_nothing()


def test_a_killed_command_leaves_a_machine_or_nothing(make: Make) -> None:
    installer = make(NEVER_ENDS)
    for tenth in range(1, 16):
        with installer.start("--noautoconsole") as command:
            time.sleep(tenth / 10)
            command.kill()
        installer.wait_for_the_manager()
        deadline = time.monotonic() + LIMIT_S
        while not (gone := installer.has_left_nothing()) and "one" not in installer.user.inn("list", "--name"):
            assert time.monotonic() < deadline  # its process may just be starting
            time.sleep(0.2)
        if not gone:
            installer.user.inn("destroy", "one")
            installer.user.inn("undefine", "one", "--remove-all-storage")
        assert installer.has_left_nothing()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", small], check=False).returncode:
        pytest.skip("no small file system")
    yield small
    subprocess.run(["umount", small], check=True)


def test_a_full_disk_leaves_nothing(make: Make, small: Path) -> None:
    installer = make(NEVER_ENDS)
    disk = ["--disk", f"path={small}/d,size=0.1,format=raw,sparse=no", "--check", "disk_size=off"]
    with installer.start("--noautoconsole", *disk) as command:
        assert command.wait(LIMIT_S) == 2
        assert command.stderr is not None
        assert "No space left" in command.stderr.read()
    assert list(small.iterdir()) == []
    assert installer.has_left_nothing()


def test_no_room_for_the_installers_kernel_leaves_nothing(make: Make, small: Path) -> None:
    installer = make(NEVER_ENDS)
    place = installer.home / "state/innkeeper/installations"
    place.parent.mkdir(parents=True)
    place.symlink_to(small)
    with installer.start("--noautoconsole") as command:
        assert command.wait(LIMIT_S) == 2
        assert command.stderr is not None
        assert "No space left" in command.stderr.read()
    assert list(small.iterdir()) == []
    assert installer.has_left_nothing()
    place.unlink()
    with installer.start("--noautoconsole") as command:
        assert command.wait(LIMIT_S) == 0


# ---- the real virt-install's documents --------------------------------------------------------------

LINES = {
    "a kernel of its own": [
        "--boot", "kernel={kernel},initrd={initrd},kernel_args=console=ttyS0 quiet", "--disk", "{disk},format=raw,bus=virtio",
        "--network", "user,model=virtio", "--graphics", "vnc,listen=127.0.0.1", "--rng", "/dev/urandom", "--memballoon", "virtio",
        "--vsock", "cid.auto=yes", "--filesystem", "{folder},files", "--input", "tablet,bus=virtio", "--osinfo", "debian11",
    ],
    "no screen": [
        "--boot", "kernel={kernel},initrd={initrd},kernel_args=console=ttyS0 quiet", "--disk", "none", "--network", "none",
        "--graphics", "none", "--osinfo", "generic", "--serial", "pty", "--vcpus", "2", "--cpu", "host-passthrough",
    ],
    "firmware and a disk": ["--import", "--disk", "{disk},format=raw,bus=sata", "--osinfo", "debian11", "--graphics", "vnc"],
    "an installer's disc": ["--cdrom", "{disc}", "--disk", "{disk},format=raw", "--osinfo", "linux2020", "--video", "qxl"],
}  # fmt: skip


@pytest.mark.skipif(shutil.which("virt-install") is None, reason="no virt-install: Debian's package virtinst")
@pytest.mark.parametrize("kind", LINES)
def test_a_document_of_the_real_virt_install_is_a_machine(
    kind: str, debian: KernelImage, initramfs: Initramfs, tmp_path: Path
) -> None:
    user, disk, disc = User(tmp_path), tmp_path / "disk", tmp_path / "disc.iso"
    disk.write_bytes(bytes(1 << 20))
    make_disc(disc)
    names = {"kernel": debian.vmlinuz, "initrd": initramfs(INIT), "disk": disk, "disc": disc, "folder": tmp_path}
    words = [word.format(**names) for word in LINES[kind]]
    about = ["--connect", "test:///default", "--dry-run", "--print-xml", "1", "--name", "real", "--memory", "256"]
    shown = subprocess.run(["virt-install", *about, *words], capture_output=True, text=True, check=True, timeout=120)
    document = tmp_path / "real.xml"
    document.write_text(shown.stdout.replace('type="test"', 'type="qemu"'))  # of libvirt's drivers the one that is ours
    user.inn("define", str(document))
    user.inn("start", "real")
    try:
        assert user.inn("domstate", "real").strip() == "running"
        if "initrd" in "".join(LINES[kind]):
            assert "you said hello" in user.talk("real", "hello")
    finally:
        user.inn("destroy", "real")


def make_disc(path: Path) -> None:
    if shutil.which("xorriso") is None:
        pytest.skip("no xorriso")
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-o", str(path), str(ROOT / "examples")]
    subprocess.run(command, check=True, capture_output=True)
