"""Debian installed without a question, from a disc made of its packages: to the end, and a login in what was installed."""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from innkeeper.config import EngineChoice
from innkeeper.errors import ImageError
from innkeeper.image.installer import InstallerRecipe, build_installer
from tests.boot.inn import Line

from .report import say, spread

NAME, PASSWORD = "installed", "secret word"
MEMORY_MIB, DISK_GIB = 1024, 3
LIMIT_S = 3 * 3600.0  # an hour on a busy host
LOGIN_S = 1200.0
ANSWER_S = 120.0
WHERE = "findmnt -no SOURCE,FSTYPE /; cat /etc/hostname; systemctl is-system-running --wait"


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds: to the end of the installer, and from there to a login."""

    installing: float
    starting: float


class Home:
    """A user's folders, and `inn` with them."""

    def __init__(self, folder: Path) -> None:
        (folder / "run").mkdir(mode=0o700, parents=True)
        self.folder = folder
        state = {"XDG_STATE_HOME": str(folder / "state"), "XDG_RUNTIME_DIR": str(folder / "run")}
        self.environment = {**os.environ, **state, "XDG_DATA_HOME": str(folder / "data")}

    def inn(self, *words: str, limit_s: float = LIMIT_S) -> str:
        """Raises `AssertionError` with its complaint."""
        command = [sys.executable, "-m", "innkeeper.cli", *words]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            env=self.environment,
            check=False,
        )
        assert done.returncode == 0, f"{words[0]}: {done.stderr}"
        return done.stdout


def soak_install(arguments: argparse.Namespace, folder: Path) -> bool:
    disc = folder / "debian.iso"
    try:
        build_installer(InstallerRecipe(), disc)
    except ImageError as error:
        say("install", f"left out, as no disc can be made here: {error}")
        return True
    took = []
    for number in range(arguments.count or 1):
        try:
            took.append(install(Home(folder / f"home-{number}"), disc, arguments.engine))
        except AssertionError as error:
            say("install", f"installation {number + 1} FAILS: {error}")
            return False
        say("install", f"installed in {took[-1].installing:.0f} s, started in {took[-1].starting:.0f} s")
    say("install", f"installing took {spread([each.installing for each in took], 's')}")
    return True


def install(home: Home, disc: Path, engine: EngineChoice, *options: str) -> Took:
    """Installs, logs in, turns off. `options` are instead of `--unattended`. Raises `AssertionError`."""
    secret = home.folder / "password"
    secret.write_text(f"{PASSWORD}\n")
    answered = f"profile=jeos,user-login=somebody,admin-password-file={secret},user-password-file={secret}"
    words = ["--name", NAME, "--memory", str(MEMORY_MIB), "--virt-type", engine.value, "--location", str(disc)]
    words += ["--network", "none", "--graphics", "none", "--disk", f"path={home.folder}/disk.qcow2,size={DISK_GIB}"]
    begun = time.monotonic()
    home.inn("virt-install", *words, *(options or ["--unattended", answered]), "--wait")
    ended = time.monotonic()
    try:
        log_in(home)
        started = time.monotonic()
        deadline = started + ANSWER_S
        while home.inn("domstate", NAME).strip() != "shut off":
            assert time.monotonic() < deadline, "it was told to turn off, and still runs"
            time.sleep(1)
    finally:
        if home.inn("domstate", NAME).strip() == "running":
            home.inn("destroy", NAME)
    return Took(ended - begun, started - ended)


def log_in(home: Home) -> None:
    """At the serial console of the machine that was installed: asks where it runs from, and turns it off."""
    deadline = time.monotonic() + LOGIN_S
    while home.inn("domstate", NAME).strip() != "running":
        assert time.monotonic() < deadline, "what was installed does not start"
        time.sleep(0.5)
    master, slave = os.openpty()
    command = [sys.executable, "-m", "innkeeper.cli", "console", NAME]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=home.environment) as console:
        os.close(slave)
        try:
            converse(Line(master))
            console.wait(ANSWER_S)  # until the machine hangs up
        finally:
            console.kill()
            os.close(master)


def converse(line: Line) -> None:
    line.wait_for("login: ", limit_s=LOGIN_S)
    line.type("root\r")
    line.wait_for("Password: ", limit_s=ANSWER_S)
    line.type(f"{PASSWORD}\r")
    line.wait_for("# ", limit_s=ANSWER_S)
    line.type(f"{WHERE}; echo e''nd\r")
    said = line.wait_for("end\r\n", limit_s=ANSWER_S)
    assert "/dev/vda1 ext4" in said, said
    assert NAME in said, said
    line.type("poweroff\r")
    line.wait_for("poweroff\r\n", limit_s=ANSWER_S)
