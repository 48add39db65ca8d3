"""The first minutes of installations: Debian's installer over the network by UEFI, to its first question; and with answers, past all of them
that it has before it looks for a mirror.
"""

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from .home import Home
from .install import PASSWORD
from .report import say

TREE = Path("/usr/lib/debian-installer/images/12/amd64/text")
NEEDS = (TREE, Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/lib/ipxe/qemu/efi-virtio.rom"))
NAME = "starts"
LIMIT_S = 900.0
MENU = """\
linux /debian-installer/amd64/linux DEBIAN_FRONTEND=text console=ttyS0,115200
initrd /debian-installer/amd64/initrd.gz
boot
"""


def soak_starts(arguments: argparse.Namespace, folder: Path) -> bool:
    if missing := [str(path) for path in NEEDS if not path.exists()]:
        say("starts", f"left out, as this host lacks {', '.join(missing)}")
        return True
    good = True
    for name, start in {"network": network, "answers": answers}.items():
        begun = time.monotonic()
        home = Home(folder / f"starts-{name}")
        try:
            start(home, arguments)
        except AssertionError as error:
            say("starts", f"{name} FAILS: {error}")
            good = False
        else:
            say("starts", f"{name} took {time.monotonic() - begun:.0f} s")
        finally:
            if NAME in home.inn("list", "--name").split():
                home.inn("destroy", NAME)
    return good


def network(home: Home, arguments: argparse.Namespace) -> None:
    """OVMF, shim, GRUB and the installer, all by TFTP."""
    files = home.folder / "files"
    shutil.copytree(TREE / "debian-installer", files / "debian-installer")
    (files / "debian-installer/amd64/grub/grub.cfg").write_text(MENU)
    words = ["--pxe", "--boot", "uefi", "--network", f"user,tftp={files}", "--graphics", "none"]
    install(home, arguments, words)
    wait_for(home, lambda said: "Select a language" in said and "Prompt:" in said)


def answers(home: Home, arguments: argparse.Namespace) -> None:
    """The mirror is the first thing that a host without the Internet fails at."""
    secret = home.folder / "password"
    secret.write_text(f"{PASSWORD}\n")
    answered = f"profile=jeos,user-login=somebody,admin-password-file={secret},user-password-file={secret}"
    words = ["--location", str(TREE), "--unattended", answered, "--network", "user", "--graphics", "none"]
    install(home, arguments, words)
    said = wait_for(home, lambda said: "Checking the Debian archive mirror" in said)
    asked = said.partition("Checking the Debian archive mirror")[0]
    assert "Prompt:" not in asked, f"it asks: {asked[-600:]!r}"


def install(home: Home, arguments: argparse.Namespace, words: list[str]) -> None:
    machine = ["--name", NAME, "--memory", "1024", "--virt-type", arguments.engine.value, "--disk", "size=3"]
    home.inn("virt-install", *machine, *words, "--serial", f"file,path={home.folder}/said", "--noautoconsole")


def wait_for(home: Home, come: Callable[[str], bool]) -> str:
    """What was said on the serial port until it has come."""
    deadline = time.monotonic() + LIMIT_S
    while not come(said := (home.folder / "said").read_text(errors="replace")):
        assert time.monotonic() < deadline, f"last came {said[-600:]!r}"
        time.sleep(1)
    return said
