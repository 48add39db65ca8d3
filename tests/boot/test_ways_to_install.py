"""`inn virt-install` as users of cookbooks type it, each way with a guest that says what it sees: from a disc, a tree, the network, by
cloud-init's seed; and what follows when the guest ends.
"""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from innkeeper.image import KernelImage

from .conftest import Initramfs
from .inn import LIMIT_S, Terminal
from .test_discs import GRUB, make_disc, need
from .test_machines import User

pytestmark = [pytest.mark.boot, pytest.mark.slow]

ALONE = ("--memory", "256", "--graphics", "none", "--virt-type", "bt")
OFFLINE = ("--network", "none")
QUIET = "console=ttyS0 quiet cryptomgr.notests"
COPIES = "cat /dev/vdb >/dev/vda && sync && echo copied; reboot -f"
BLOCK = ("virtio_pci", "virtio_blk")
TELLS = "echo; cat /proc/cmdline; cat /answers.txt; echo told; poweroff -f"
DRIVES = (*BLOCK, "ata_piix", "sr_mod", "isofs")
SEED = """
if mkdir /cd && mount -t iso9660 -o ro /dev/sr0 /cd 2>/dev/null; then
    for file in /cd/*; do echo "== ${file#/cd/}"; cat "$file"; echo; done
    echo "== end"; reboot -f
fi
echo no seed; poweroff -f
"""
SEED_AND_OFF = SEED.replace("reboot -f", "poweroff -f")


class Home(User):
    """A user, and one machine whose serial port goes to a file."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.environment["XDG_DATA_HOME"] = str(home / "data")
        self.home, self.said_in = home, home / "said"

    def install(self, *words: str, status: int = 0) -> str:
        """What it says of it."""
        serial = ["--serial", f"file,path={self.said_in}", *(() if "--network" in words else OFFLINE)]
        return self.run("virt-install", "--name", "one", *ALONE, *words, *serial, status=status).stderr

    @property
    def said(self) -> str:
        text = self.said_in.read_text(errors="replace") if self.said_in.exists() else ""
        return text.replace("\r", "")

    def wait_for(self, words: str, limit_s: float = 90) -> str:
        deadline = time.monotonic() + limit_s
        while words not in self.said:
            assert time.monotonic() < deadline, f"no {words!r}; last came {self.said[-2000:]!r}; {self.log}"
            time.sleep(0.1)
        return self.said

    @property
    def log(self) -> str:
        log = self.home / "state/innkeeper/one.log"
        return log.read_text() if log.exists() else ""

    def state(self) -> str:
        return self.inn("domstate", "one").strip()

    def wait_for_state(self, state: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while self.state() != state:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.1)

    @property
    def scratch(self) -> list[Path]:
        return list((self.home / "state/innkeeper/installations").glob("*"))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    if "one" in home.inn("list", "--name").split():
        home.inn("destroy", "one")


def by_kernel(kernel: Path, initrd: Path) -> list[str]:
    return ["--boot", f"kernel={kernel},initrd={initrd},kernel_args={QUIET}"]


# ---- discs and trees --------------------------------------------------------------------------------


@pytest.mark.parametrize("noreboot", [False, True], ids=["restarts", "stays off"])
def test_an_installers_disc_writes_the_disk_that_starts_afterwards(
    home: Home, debian: KernelImage, initramfs: Initramfs, noreboot: bool
) -> None:
    need("seabios", "isolinux", "syslinux-common", "grub-rescue-pc")
    disc = make_disc(home.home, debian.vmlinuz, QUIET, initramfs(COPIES, modules=BLOCK))
    disks = ["--disk", f"{home.home}/disk.qcow2,size=0.02", "--disk", f"path={GRUB},format=raw,readonly=on"]
    said = home.install("--cdrom", str(disc), *disks, "--wait", *(["--noreboot"] if noreboot else []))
    assert "Domain installation completed" in said
    assert "copied" in home.said
    if noreboot:
        home.wait_for_state("shut off")
        home.inn("start", "one")
    home.wait_for("GNU GRUB")
    assert "ISOLINUX" not in home.said.partition("copied")[2]
    assert home.scratch == []


@pytest.mark.parametrize("form", ["folder", "disc", "pair"])
def test_a_location_gives_the_kernel_words_and_files(
    home: Home, debian: KernelImage, initramfs: Initramfs, form: str
) -> None:
    tree, names = home.home / "tree", ("install.amd/vmlinuz", "install.amd/initrd.gz")
    if form == "pair":
        names = ("deep/down/my-kernel", "my-initrd")
    for name, source in zip(names, (debian.vmlinuz, initramfs(TELLS)), strict=True):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tree / name)
    place = str(tree)
    if form == "disc":
        place = str(home.home / "tree.iso")
        run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", place, str(tree))
    if form == "pair":
        place += f",kernel={names[0]},initrd={names[1]}"
    (home.home / "answers.txt").write_text("an answer\n")
    words = ["--location", place, "--extra-args", "one=1 quiet", "-x", "two=2", "--noreboot", "--wait"]
    home.install(*words, "--initrd-inject", str(home.home / "answers.txt"), "--disk", "none")
    assert re.search(r"^one=1 quiet two=2 console=ttyS0\nan answer\ntold$", home.said, re.MULTILINE), home.said
    home.wait_for_state("shut off")
    assert home.scratch == []
    kept = home.inn("dumpxml", "one")
    assert "<kernel>" not in kept
    assert ("tree.iso" in kept) == (form == "disc")


def run(*words: str) -> None:
    if shutil.which(words[0]) is None:
        pytest.skip(f"no {words[0]}")
    subprocess.run(words, check=True, capture_output=True)


def test_a_network_boots_an_installer_and_the_disk_afterwards(
    home: Home, debian: KernelImage, initramfs: Initramfs
) -> None:
    need("seabios", "ipxe-qemu", "grub-rescue-pc")
    files = home.home / "tftp"
    (files / "deep").mkdir(parents=True)
    shutil.copy(debian.vmlinuz, files / "deep/vmlinuz")
    shutil.copy(initramfs(COPIES, modules=BLOCK), files / "initrd")
    (files / "boot.ipxe").write_text(f"#!ipxe\nkernel deep/vmlinuz initrd=initrd {QUIET}\ninitrd initrd\nboot\n")
    disks = ["--disk", f"{home.home}/disk,size=0.02,format=raw", "--disk", f"path={GRUB},format=raw,readonly=on"]
    home.install("--pxe", *disks, "--network", f"user,tftp={files},bootfile=boot.ipxe", "--wait")
    assert "boot.ipxe... ok" in home.said
    assert "copied" in home.said
    home.wait_for("GNU GRUB")
    assert "copied" not in home.said.rpartition("SeaBIOS")[2]


# ---- cloud-init -------------------------------------------------------------------------------------


@pytest.fixture
def seeded(debian: KernelImage, initramfs: Initramfs) -> Callable[[str], tuple[Path, Path]]:
    """A kernel, and an archive for it with drivers of CD-ROM drives."""
    return lambda script: (debian.vmlinuz, initramfs(script, modules=DRIVES))


Seeded = Callable[[str], tuple[Path, Path]]


def test_a_seed_is_there_until_the_guest_restarts(home: Home, seeded: Seeded) -> None:
    password, root, user = home.home / "password", home.home / "root.pub", home.home / "user.pub"
    password.write_text(" se cret\nof two lines\n")
    root.write_text("ssh-ed25519 AAAA root@host\n")
    user.write_text("ssh-ed25519 BBBB user@host\n")
    cloud = f"root-password-file={password},root-ssh-key={root},clouduser-ssh-key={user},disable=on"
    said = home.install("--import", *by_kernel(*seeded(SEED)), "--disk", "none", "--cloud-init", cloud)
    assert "Domain creation completed" in said
    heard = home.wait_for("no seed")
    seed = heard.partition("== end")[0]
    for words in (
        '"list": "root: se cret\\n"',
        '"expire": false',
        "ssh-ed25519 AAAA root@host",
        "ssh-ed25519 BBBB user@host",
        "cloud-init.disabled",
        "local-hostname: one",
    ):
        assert words in seed, seed
    assert "of two lines" not in seed
    home.wait_for_state("shut off")
    assert home.scratch == []


def test_files_are_the_seed_as_they_are(home: Home, seeded: Seeded) -> None:
    texts = {
        "user-data": "#cloud-config\npackages: [a]\n",
        "meta-data": "instance-id: x\n",
        "network-config": "version: 2\n",
    }
    for name, text in texts.items():
        (home.home / name).write_text(text)
    cloud = ",".join(f"{name}={home.home / name}" for name in texts)
    home.install("--import", *by_kernel(*seeded(SEED_AND_OFF)), "--disk", "none", "--cloud-init", cloud)
    home.wait_for_state("shut off")  # it turned itself off, and nothing was to be installed
    found = dict(re.findall(r"== (\S+)\n(.*?)\n\n", home.wait_for("== end"), re.DOTALL))
    assert found == {name: text.rstrip("\n") for name, text in texts.items()}
    assert home.said.count("== end") == 1
    assert home.scratch == []
    home.inn("start", "one")
    home.wait_for("no seed")


def test_a_password_that_is_made_up_is_printed(home: Home, seeded: Seeded) -> None:
    begun = time.monotonic()
    said = home.install("--import", "--transient", *by_kernel(*seeded(SEED_AND_OFF)), "--disk", "none", "--cloud-init")
    assert time.monotonic() - begun > 9.5  # to notice it
    (password,) = re.findall(r"Password for root: (\S+)", said)
    seed = home.wait_for("== end")
    assert f'"list": "root:{password}\\n"' in seed
    assert '"expire": true' in seed
    deadline = time.monotonic() + LIMIT_S
    while "one" in home.inn("list", "--all", "--name") or home.scratch:
        assert time.monotonic() < deadline, home.scratch
        time.sleep(0.1)


# ---- what follows -----------------------------------------------------------------------------------


def test_a_transient_machine_is_forgotten(home: Home, debian: KernelImage, initramfs: Initramfs) -> None:
    disk = f"{home.home}/disk,size=0.02"
    home.install("--import", "--transient", "--disk", disk, *by_kernel(debian.vmlinuz, initramfs("poweroff -f")))
    deadline = time.monotonic() + LIMIT_S
    while "one" in home.inn("list", "--all", "--name"):
        assert time.monotonic() < deadline, home.log
        time.sleep(0.1)
    assert (home.home / "disk").exists()  # as the manual has it


@pytest.mark.parametrize(
    ("events", "script", "count"),
    [
        ("on_reboot=destroy", "echo begun; reboot -f", 1),
        ("on_poweroff=restart", "echo begun; sleep 0.2; poweroff -f", 3),
        ("on_reboot=restart,on_crash=destroy", "echo begun; reboot -f", 3),
    ],
)
def test_events_say_what_follows(
    home: Home, debian: KernelImage, initramfs: Initramfs, events: str, script: str, count: int
) -> None:
    home.install("--events", events, "--disk", "none", *by_kernel(debian.vmlinuz, initramfs(script)))
    deadline = time.monotonic() + LIMIT_S
    while home.said.count("begun") < count:
        assert time.monotonic() < deadline, home.said[-2000:] + home.log
        time.sleep(0.1)
    if count == 1:
        home.wait_for_state("shut off")
        assert home.said.count("begun") == 1


def test_it_waits_as_long_as_it_is_told(home: Home, debian: KernelImage, initramfs: Initramfs) -> None:
    tree = home.home / "tree/install.amd"
    tree.mkdir(parents=True)
    shutil.copy(debian.vmlinuz, tree / "vmlinuz")
    shutil.copy(initramfs("echo begun; sleep 1000"), tree / "initrd.gz")
    words = ["--location", str(tree.parent), "--disk", f"{home.home}/disk,size=0.02"]
    begun = time.monotonic()
    home.install(*words, "--wait", "0")
    assert time.monotonic() - begun < 20
    home.wait_for("begun")
    home.inn("destroy", "one")
    home.inn("undefine", "one", "--remove-all-storage")
    said = home.install(*words, "--wait", "0.05", status=124)
    assert "the installation goes on after 0.05 min" in said
    assert home.state() == "running"
    assert (home.home / "disk").exists()


def test_a_machine_is_destroyed_when_its_console_is_left(
    home: Home, debian: KernelImage, initramfs: Initramfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in home.environment.items():
        monkeypatch.setenv(key, value)
    boot = by_kernel(debian.vmlinuz, initramfs("echo re''ady; while read -r word; do echo you said $word; done"))
    words = ["--name", "one", *ALONE, *OFFLINE, *boot, "--disk", "none", "--transient", "--destroy-on-exit"]
    with Verb("virt-install", *words) as terminal:
        terminal.line.wait_for("Escape character", limit_s=90)
        terminal.line.wait_for("ready", limit_s=90)
        terminal.line.type("hello\r")
        terminal.line.wait_for("you said hello", limit_s=90)
        assert "one" in home.inn("list", "--name")
        terminal.line.type("\x1d")
        assert terminal.status(limit_s=60) == 0
    assert "one" not in home.inn("list", "--all", "--name")


class Verb(Terminal):
    """Another verb than `run` at a terminal of its own."""

    def __init__(self, *words: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tests.boot.inn.COMMAND", [sys.executable, "-m", "innkeeper.cli"])
            super().__init__(*words)


def test_a_terminal_shows_how_far_it_is(
    home: Home, debian: KernelImage, initramfs: Initramfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the manager does: the disk, and what the guest says on its serial port. ^C undoes it."""
    for key, value in home.environment.items():
        monkeypatch.setenv(key, value)
    tree = home.home / "tree/install.amd"
    tree.mkdir(parents=True)
    shutil.copy(debian.vmlinuz, tree / "vmlinuz")
    shutil.copy(initramfs("while :; do echo still copy''ing; sleep 0.3; done"), tree / "initrd.gz")
    words = ["--name", "one", *ALONE, *OFFLINE, "--location", str(tree.parent), "--extra-args", QUIET]
    with Verb("virt-install", *words, "--disk", f"{home.home}/disk,size=0.1,sparse=no", "--wait") as terminal:
        terminal.line.wait_for(f"Allocating '{home.home}/disk' ", limit_s=90)
        terminal.line.wait_for("Installing 'one' 0:", limit_s=90)
        terminal.line.wait_for("still copying", limit_s=90)
        terminal.line.type("\x03")
        assert terminal.status(limit_s=60) == 130
    assert not (home.home / "disk").exists()
    assert "one" not in home.inn("list", "--all", "--name")


def test_a_machine_is_installed_again(home: Home, debian: KernelImage, initramfs: Initramfs) -> None:
    tree = home.home / "tree/install.amd"
    tree.mkdir(parents=True)
    shutil.copy(debian.vmlinuz, tree / "vmlinuz")
    shutil.copy(initramfs("cat /proc/cmdline; echo installing; sync; poweroff -f"), tree / "initrd.gz")
    boot = by_kernel(debian.vmlinuz, initramfs("echo installed; poweroff -f"))
    home.install(*boot, "--disk", f"{home.home}/disk,size=0.02", "--title", "mine")
    home.wait_for_state("shut off")
    kept = home.inn("dumpxml", "one")
    again = [
        "virt-install",
        "--reinstall",
        "one",
        "--location",
        str(tree.parent),
        "--extra-args",
        "anew quiet",
        "--wait",
    ]
    home.inn(*again)
    assert re.search(r"anew quiet console=ttyS0\n+installing", home.said), home.said
    home.wait_for_state("shut off")
    assert "installed" in home.said.partition("installing")[2]
    assert home.inn("dumpxml", "one") == kept
    assert (home.home / "disk").exists()
    assert home.scratch == []
