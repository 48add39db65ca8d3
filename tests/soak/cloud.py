"""A cloud image by `inn virt-install --import --cloud-init`: Debian's own cloud-init reads the seed, and does not run again."""

import argparse
import json
import time
from pathlib import Path

from innkeeper.errors import ImageError
from innkeeper.image.rootfs import RootfsRecipe, build_rootfs

from .console import ask, console, log_in
from .home import ANSWER_S, LOGIN_S, Home
from .report import say

NAME, PASSWORD, KEY = "cloudy", "the new word", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEdyZWF0 somebody@host"
FIRST = (
    "cloud-init status --wait; hostname; cat /root/.ssh/authorized_keys; ls /etc/cloud/cloud-init.disabled /dev/sr0; "
    "cat /run/cloud-init/result.json"
)
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
        home.end(NAME)
    say("cloud", f"took {time.monotonic() - begun:.0f} s, with a restart")
    return True


def converse(home: Home) -> None:
    said = at_console(
        home, FIRST, "reboot", after=r"Cloud-init v\. \S+ finished at"
    )  # before that the password is another
    # That it is disabled from now on is what it says instead of "done".
    for words in ("status: disabled", NAME, KEY, "/etc/cloud/cloud-init.disabled", "/dev/sr0"):
        assert words in said, f"{words!r} is not in {said!r}"
    result = json.loads(said[said.index("{") : said.rindex("}") + 1])["v1"]
    assert result["errors"] == [], result
    assert result["datasource"].startswith("DataSourceNoCloud [seed=/dev/sr0]"), result
    assert "error" not in said.replace('"errors"', ""), said
    home.wait_until(NAME, "running")
    said = at_console(home, LATER, "poweroff")
    for words in ("status: disabled", NAME, "authorized_keys"):
        assert words in said, f"{words!r} is not in {said!r}"
    home.wait_until(NAME, "shut off")


def at_console(home: Home, question: str, end: str, *, after: str = "") -> str:
    """Logs in with the password of the seed, asks, and ends the machine; gives the answer."""
    with console(home, NAME) as (line, process):
        if after:
            line.wait_for(after, limit_s=LOGIN_S)
            line.type("\r")
        log_in(line, NAME, PASSWORD)
        said = ask(line, question)
        line.type(f"{end}\r")
        process.wait(ANSWER_S)
        return said
