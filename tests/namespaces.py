"""Network namespaces for tests: a host of its own, with its own interfaces, rules, forwarding and /run; and others around it."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from innkeeper.host.namespaces import CAP_NET_ADMIN, has_capability
from innkeeper.image.initramfs import fetch_busybox

LIMIT_S = 60
HOME = ("XDG_STATE_HOME=/run/state", "XDG_RUNTIME_DIR=/run/own", f"PYTHONPATH={Path(__file__).parents[1]}")
SET_UP = "mount -t tmpfs none /run && mkdir -m 700 /run/own && ip link set lo up && echo there && exec sleep infinity"


def skip_unless_possible(*programs: str) -> None:
    """Names what is missing."""
    if os.geteuid() != 0 or not has_capability(CAP_NET_ADMIN):
        pytest.skip("namespaces with bridges and rules need root")
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    for program in ("ip", "nsenter", "unshare", *programs):
        if shutil.which(program, path=path) is None:
            pytest.skip(f"no {program}")
    tried = subprocess.run(["unshare", "-nm", "true"], check=False, capture_output=True)
    if tried.returncode != 0:
        pytest.skip(f"no namespaces: {tried.stderr.decode().strip()}")


@cache
def busybox() -> Path:
    return fetch_busybox()


class Namespace:
    """A network namespace and a mount namespace, as long as the `with` block."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "-nm", "--propagation", "private", "sh", "-c", SET_UP], stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"there\n"
        self.process = self._holder.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self.processes():
            os.kill(process, 9)
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()

    def processes(self) -> list[int]:
        """All that are in the network namespace."""
        here = Path(f"/proc/{self.process}/ns/net").stat().st_ino
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "ns/net").stat().st_ino == here:
                    found.append(int(entry.name))
            except OSError:
                continue  # it has ended meanwhile, or is a corpse
        return found

    def inside(self, *words: str) -> list[str]:
        """The command line that does it there."""
        return ["nsenter", "-t", str(self.process), "-n", "-m", "env", *HOME, *words]

    def run(self, *words: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.inside(*words),
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
            cwd="/",
            env={**os.environ, "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"},
        )
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
        return done

    def shell(self, script: str) -> str:
        """All of its commands must succeed."""
        return self.run("sh", "-ec", script).stdout

    def wire(self, name: str, other: "Namespace", other_name: str) -> None:
        """A cable between two namespaces, up at both ends."""
        self.run("ip", "link", "add", name, "type", "veth", "peer", "name", other_name, "netns", str(other.process))
        self.run("ip", "link", "set", name, "up")
        other.run("ip", "link", "set", other_name, "up")

    def reaches(self, address: str) -> bool:
        """Whether anything comes back from there."""
        return self.run(str(busybox()), "ping", "-c", "1", "-W", "3", address, check=False).returncode == 0
