"""Debian installed without a question, from a disc made of its packages: to the end, and a login in what was installed."""

import argparse
import re
import time
from dataclasses import dataclass
from pathlib import Path

from innkeeper.config import EngineChoice
from innkeeper.errors import ImageError
from innkeeper.image.installer import InstallerRecipe, build_installer
from tests.boot.inn import Line

from .console import console
from .home import ANSWER_S, LOGIN_S, Home
from .report import say, spread

NAME, PASSWORD = "installed", "secret word"
MEMORY_MIB, DISK_GIB = 1024, 3
BIOS, UEFI = FIRMWARE = ("bios", "uefi")
ENTRY = "efibootmgr 2>/dev/null | sed -n 's/^BootCurrent: /started by entry /p'"
WHERE = f"findmnt -no SOURCE,FSTYPE /; {ENTRY}; cat /etc/hostname; systemctl is-system-running --wait"


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds: to the end of the installer, and from there to a login."""

    installing: float
    starting: float


def soak_install(arguments: argparse.Namespace, folder: Path) -> bool:
    disc = folder / "debian.iso"
    try:
        build_installer(InstallerRecipe(), disc)
    except ImageError as error:
        say("install", f"left out, as no disc can be made here: {error}")
        return True
    return all(soak_by(firmware, arguments, disc, folder) for firmware in FIRMWARE)


def soak_by(firmware: str, arguments: argparse.Namespace, disc: Path, folder: Path) -> bool:
    took = []
    for number in range(arguments.count or 1):
        try:
            took.append(install(Home(folder / f"{firmware}-{number}"), disc, arguments.engine, firmware=firmware))
        except AssertionError as error:
            say("install", f"installation {number + 1} by {firmware} FAILS: {error}")
            return False
        say("install", f"installed by {firmware} in {took[-1].installing:.0f} s, started in {took[-1].starting:.0f} s")
    say("install", f"installing by {firmware} took {spread([each.installing for each in took], 's')}")
    return True


def install(home: Home, disc: Path, engine: EngineChoice, *options: str, firmware: str = BIOS) -> Took:
    """Installs, logs in, turns off. `options` are instead of `--unattended`. Raises `AssertionError`."""
    secret = home.folder / "password"
    secret.write_text(f"{PASSWORD}\n")
    answered = f"profile=jeos,user-login=somebody,admin-password-file={secret},user-password-file={secret}"
    words = ["--name", NAME, "--memory", str(MEMORY_MIB), "--virt-type", engine.value, "--location", str(disc)]
    words += ["--network", "none", "--graphics", "none", "--disk", f"path={home.folder}/disk.qcow2,size={DISK_GIB}"]
    words += ["--boot", UEFI] if firmware == UEFI else []
    begun = time.monotonic()
    home.inn("virt-install", *words, *(options or ["--unattended", answered]), "--wait")
    ended = time.monotonic()
    try:
        log_in(home, firmware)
        started = time.monotonic()
        home.wait_until(NAME, "shut off")
    finally:
        home.end(NAME)
    return Took(ended - begun, started - ended)


def log_in(home: Home, firmware: str = BIOS) -> None:
    """At the serial console of the machine that was installed: asks where it runs from, and turns it off."""
    home.wait_until(NAME, "running", limit_s=LOGIN_S)
    with console(home, NAME) as (line, process):
        converse(line, firmware)
        process.wait(ANSWER_S)  # until the machine hangs up


def converse(line: Line, firmware: str = BIOS) -> None:
    line.wait_for("login: ", limit_s=LOGIN_S)
    line.type("root\r")
    line.wait_for("Password: ", limit_s=ANSWER_S)
    line.type(f"{PASSWORD}\r")
    line.wait_for("# ", limit_s=ANSWER_S)
    line.type(f"{WHERE}; echo e''nd\r")
    said = line.wait_for("end\r\n", limit_s=ANSWER_S)
    assert ("/dev/vda2 ext4" if firmware == UEFI else "/dev/vda1 ext4") in said, said
    assert bool(re.search(r"started by entry \d{4}", said)) == (firmware == UEFI), said
    assert NAME in said, said
    line.type("poweroff\r")
    line.wait_for("poweroff\r\n", limit_s=ANSWER_S)
