"""The hands-on chapter that this program was made after, command by command, in a network namespace with a bridge br0.

`docs/guide/from-libvirt.md` walks through the same.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper import _core
from innkeeper.image import KernelImage
from tests.boot.conftest import Initramfs
from tests.boot.inn import APPEND
from tests.boot.test_discs import make_disc, need

pytestmark = [pytest.mark.boot, pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of root's are needed")]

INSTALLER = "echo installer-is-up; while true; do sleep 1; done"
INSTALL = """virt-install --virt-type={} --name myvm --ram 2048 --vcpus=2 --os-variant=debian12 --cdrom=./installer.iso
 --network=bridge=br0,model=virtio --graphics vnc --disk path=./myvm.disk,size=10,bus=virtio,format=qcow2 --noautoconsole"""


class Host:
    """A user's shell, in a folder and a namespace of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._namespace = f"inn-notes-{os.getpid()}"
        self._run("ip", "netns", "add", self._namespace)
        self.shell(
            "ip link set lo up && ip link add br0 type bridge && ip address add 10.0.2.1/24 dev br0 && ip link set br0 up"
        )

    def close(self) -> None:
        self._run("ip", "netns", "delete", self._namespace)

    def shell(self, words: str) -> None:
        self._run("ip", "netns", "exec", self._namespace, "sh", "-ec", words)

    def inn(self, words: str, *, status: int = 0, stdin: bytes = b"") -> str:
        """What a command says, with what it complains of."""
        command = [sys.executable, "-m", "innkeeper.cli", *words.split()]
        done = subprocess.run(
            ["ip", "netns", "exec", self._namespace, *command],
            cwd=self._folder,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=120,
        )
        said = done.stdout.decode()
        assert done.returncode == status, said
        return said

    def started(self, words: str) -> "subprocess.Popen[str]":
        command = ["ip", "netns", "exec", self._namespace, sys.executable, "-u", "-m", "innkeeper.cli", *words.split()]
        return subprocess.Popen(command, cwd=self._folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def _run(self, *words: str) -> None:
        subprocess.run(words, check=True, cwd=self._folder)


@pytest.fixture
def host(user: Path) -> Iterator[Host]:
    host = Host(user)
    yield host
    host.close()


def test_the_commands_run_as_written(
    host: Host, debian: KernelImage, initramfs: Initramfs, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("seabios", "isolinux", "syslinux-common")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    make_disc(user, debian.vmlinuz, APPEND, initramfs(INSTALLER)).rename(user / "installer.iso")
    kind = "kvm"
    if not _core.kvm_probe().get("ring0_native"):
        said = host.inn(INSTALL.format(kind), status=2)
        assert "--virt-type=auto" in said
        assert host.inn("virsh list --all --name") == ""
        assert not (user / "myvm.disk").exists()
        kind = "auto"
    host.inn(INSTALL.format(kind))
    macs = re.findall(r"bridge +br0 +virtio +([0-9a-f:]{17})", host.inn("virsh domiflist myvm"))
    assert len(macs) == 1
    see_console(host)
    host.inn("virsh attach-interface myvm --type bridge --source br0")
    both = re.findall(r"bridge +br0 +virtio +([0-9a-f:]{17})", host.inn("virsh domiflist myvm"))
    assert len(both) == 2
    (added,) = set(both) - set(macs)
    host.inn(f"virsh detach-interface myvm --type bridge --mac {added}")
    see_page(host)
    host.inn("virsh destroy myvm")
    host.inn("virsh undefine myvm --remove-all-storage")
    assert host.inn("virsh list --all --name") == ""
    assert not (user / "myvm.disk").exists()


def see_console(host: Host) -> None:
    """The installer says something there, without anybody having configured it."""
    heard = ""
    deadline = time.monotonic() + 90
    while "installer-is-up" not in heard and time.monotonic() < deadline:
        heard = host.inn("virsh console --force myvm", stdin=b"\x1d")
        time.sleep(0.5)
    assert "installer-is-up" in heard


def see_page(host: Host) -> None:
    """Where there is no desktop, a browser shows the screen."""
    with host.started("virt-viewer -a myvm") as viewer:
        assert viewer.stdout is not None
        said = ""
        while "http://127.0.0.1:" not in said:
            line = viewer.stdout.readline()
            assert line, said
            said += line
        viewer.terminate()
        viewer.communicate()
