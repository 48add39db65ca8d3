"""Debian's console at each place that `--console` can put it."""

import os
import re
import socket
from pathlib import Path

import pytest

from innkeeper.cli.status import Status
from innkeeper.image import KernelImage

from .conftest import SHELL, Initramfs
from .inn import LIMIT_S, Line, Running, guest, inn_piped, inn_run

pytestmark = [pytest.mark.boot, pytest.mark.slow]

SAY = "echo INIT RUNS; poweroff -f"


def test_a_file_has_all_that_the_guest_said(debian: KernelImage, initramfs: Initramfs, tmp_path: Path) -> None:
    log = tmp_path / "serial.log"
    log.write_text("of an earlier run")

    done = inn_run(*guest(debian.vmlinuz, initramfs(SAY)), "--console", f"file:{log}")

    text = log.read_text()
    assert (done.status, done.said) == (Status.DONE, "")
    assert "Linux version" in text.partition("\n")[0]
    assert "\nINIT RUNS\n" in text
    assert text.endswith("reboot: Power down\n")


def test_linux_talks_there_without_being_told_of_a_console(debian: KernelImage, initramfs: Initramfs) -> None:
    done = inn_run(*guest(debian.vmlinuz, initramfs(SAY), append="quiet"))

    assert done.status == Status.DONE, done.complaint
    assert "INIT RUNS" in done.lines


def test_none_is_silent(debian: KernelImage, initramfs: Initramfs) -> None:
    done = inn_run(*guest(debian.vmlinuz, initramfs(SAY)), "--console", "none")

    assert (done.status, done.said) == (Status.DONE, "")


def test_a_socket_takes_one_peer_after_another(debian: KernelImage, initramfs: Initramfs, tmp_path: Path) -> None:
    path = tmp_path / "console"
    with inn_piped(*guest(debian.vmlinuz, initramfs(SHELL)), "--console", f"unix:{path}") as run:
        wait_until_there(path, run)
        with connected(path) as first:
            Line(first.fileno()).wait_for("/root # ", limit_s=LIMIT_S)
        with connected(path) as second:
            powers_off_when_told(Line(second.fileno()), run)
    assert not path.exists()


def test_a_pseudo_terminal_can_be_opened_at_any_time(debian: KernelImage, initramfs: Initramfs) -> None:
    with inn_piped(*guest(debian.vmlinuz, initramfs(SHELL)), "--console", "pty") as run:
        assert run.process.stderr is not None
        told = Line(run.process.stderr.fileno()).wait_for(r"the console is /dev/pts/\d+\n")
        terminal = os.open(re.findall(r"/dev/pts/\d+", told)[0], os.O_RDWR | os.O_NOCTTY)
        try:
            line = Line(terminal)
            line.wait_for("/root # ", limit_s=LIMIT_S)
            powers_off_when_told(line, run)
        finally:
            os.close(terminal)


def powers_off_when_told(line: Line, run: Running) -> None:
    line.type("\r")
    line.wait_for("/root # ")
    assert line.ask("echo $((6 * 7))") == "42\n"
    line.type("exit\r")
    assert run.status() == Status.DONE
    assert run.has_left_nothing()


def wait_until_there(path: Path, run: Running) -> None:
    assert run.process.stderr is not None
    Line(run.process.stderr.fileno()).wait_for(r"engine \w+: as asked\n")
    while not path.exists():
        assert run.process.poll() is None


def connected(path: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.connect(os.fspath(path))
    return peer
