"""A kept machine's life: installed, found again, reached at its console, ended, started anew, forgotten."""

import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from innkeeper.image import KernelImage

from .conftest import Initramfs
from .inn import LIMIT_S

pytestmark = [pytest.mark.boot, pytest.mark.slow]

INIT = """
while read -r word; do echo "you said $word"; done
"""


class User:
    """Runs `inn` as a user with folders of their own."""

    def __init__(self, home: Path) -> None:
        (home / "run").mkdir(mode=0o700)
        self.environment = {
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "PATH": "/usr/bin:/bin",
        }

    def inn(self, *words: str, typed: str = "") -> str:
        return self.run(*words, typed=typed).stdout

    def run(self, *words: str, typed: str = "", status: int = 0) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "innkeeper.cli", *words],
            input=typed,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            env=self.environment,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done

    def talk(self, name: str, word: str) -> str:
        """Types a word at the console until it is answered."""
        command = [sys.executable, "-m", "innkeeper.cli", "console", name]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=self.environment) as console:
            assert console.stdin is not None
            assert console.stdout is not None
            heard, deadline = b"", time.monotonic() + LIMIT_S
            while f"you said {word}".encode() not in heard and time.monotonic() < deadline:
                console.stdin.write(f"{word}\n".encode())
                console.stdin.flush()
                while select.select([console.stdout], [], [], 1)[0] and (
                    data := os.read(console.stdout.fileno(), 4096)
                ):
                    heard += data
            console.stdin.write(b"\x1d")
            console.stdin.close()
            console.wait(LIMIT_S)
        return heard.decode(errors="replace")


def test_a_machine_lives_on_without_whoever_started_it(
    debian: KernelImage, initramfs: Initramfs, tmp_path: Path
) -> None:
    user, disk = User(tmp_path), tmp_path / "disk.qcow2"
    boot = f"kernel={debian.vmlinuz},initrd={initramfs(INIT)},kernel_args=console=ttyS0 quiet"
    user.inn(
        "virt-install", "--name", "one", "--memory", "256", "--boot", boot, "--disk", f"path={disk},size=0.1",
        "--graphics", "none", "--noautoconsole",
    )  # fmt: skip
    try:
        assert re.search(r"^ \d+ +one +running$", user.inn("list"), re.MULTILINE)  # by the number of its process
        assert "you said hello" in user.talk("one", "hello")
        assert "you said again" in user.talk("one", "again")
    finally:
        user.inn("destroy", "one")
    assert " -    one    shut off\n" in user.inn("virsh", "list", "--all")
    user.inn("start", "one")
    try:
        assert user.inn("domstate", "one") == "running\n\n"
    finally:
        user.inn("virsh", "destroy", "one")
    assert disk.exists()
    user.inn("undefine", "one", "--remove-all-storage")
    assert not disk.exists()
    assert "one" not in user.inn("list", "--all")
