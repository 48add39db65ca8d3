"""A cloud image by `inn virt-install --import --cloud-init`: Debian's own cloud-init reads the seed, and does not run again."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from innkeeper.errors import ImageError
from innkeeper.image.rootfs import RootfsRecipe, build_rootfs
from tests.boot.inn import Line

from .install import ANSWER_S, LOGIN_S, Home
from .report import say

NAME, PASSWORD, KEY = "cloudy", "the new word", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEdyZWF0 somebody@host"
FIRST = "cloud-init status --wait; hostname; cat /root/.ssh/authorized_keys; ls /etc/cloud/cloud-init.disabled /dev/sr0"
LATER = "cloud-init status; cat /sys/block/sr0/size; hostname; ls /root/.ssh"


def soak_cloud(arguments: argparse.Namespace, folder: Path) -> bool:
    disk = folder / "cloud.raw"
    recipe = RootfsRecipe(password="old", size_gib=2, packages=("cloud-init", "openssh-server"), hostname="image")
    try:
        build_rootfs(recipe, disk)
    except ImageError as error:
        say("cloud", f"left out, as no disk can be made here: {error}")
        return True
    home = Home(folder / "cloud-home")
    (home.folder / "password").write_text(f"{PASSWORD}\n")
    (home.folder / "key.pub").write_text(f"{KEY}\n")
    seed = f"root-password-file={home.folder}/password,root-ssh-key={home.folder}/key.pub,disable=on"
    overlay = f"{home.folder}/disk.qcow2,size=2,backing_store={disk},backing_format=raw"
    words = ["--name", NAME, "--memory", "1024", "--virt-type", arguments.engine.value, "--import", "--disk", overlay]
    words += ["--graphics", "none", "--network", "user", "--cloud-init", seed, "--noautoconsole"]
    begun = time.monotonic()
    try:
        home.inn("virt-install", *words)
        converse(home)
    except AssertionError as error:
        say("cloud", f"FAILS: {error}")
        return False
    finally:
        if NAME in home.inn("list", "--name").split():
            home.inn("destroy", NAME)
    say("cloud", f"took {time.monotonic() - begun:.0f} s, with a restart")
    return True


def converse(home: Home) -> None:
    said = at_console(
        home, FIRST, "reboot", after=r"Cloud-init v\. \S+ finished at"
    )  # before that the password is another
    for words in ("status: done", NAME, KEY, "/etc/cloud/cloud-init.disabled", "/dev/sr0"):
        assert words in said, f"{words!r} is not in {said!r}"
    assert "error" not in said, said
    wait_until(home, "running")
    said = at_console(home, LATER, "poweroff")
    for words in ("status: disabled", NAME, "authorized_keys"):
        assert words in said, f"{words!r} is not in {said!r}"
    wait_until(home, "shut off")


def wait_until(home: Home, state: str) -> None:
    deadline = time.monotonic() + ANSWER_S
    while home.inn("domstate", NAME).strip() != state:
        assert time.monotonic() < deadline, f"it is not {state}"
        time.sleep(0.5)


def at_console(home: Home, question: str, end: str, *, after: str = "") -> str:
    """Logs in with the password of the seed, asks, and ends the machine; gives the answer."""
    master, slave = os.openpty()
    command = [sys.executable, "-m", "innkeeper.cli", "console", NAME]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=home.environment) as console:
        os.close(slave)
        try:
            line = Line(master)
            if after:
                line.wait_for(after, limit_s=LOGIN_S)
                line.type("\r")
            line.wait_for(f"{NAME} login: ", limit_s=LOGIN_S)
            line.type("root\r")
            line.wait_for("Password: ", limit_s=ANSWER_S)
            line.type(f"{PASSWORD}\r")
            line.wait_for(r":~# ", limit_s=ANSWER_S)
            line.type(f"{question}; echo e''nd\r")
            line.wait_for("e''nd\r\n", limit_s=ANSWER_S)
            said = line.wait_for("end\r\n", limit_s=LOGIN_S)
            line.type(f"{end}\r")
            console.wait(ANSWER_S)
            return said
        finally:
            console.kill()
            os.close(master)
