"""`inn view` and `inn virt-viewer`, as they are typed."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from tests.display.rfb.client import Client
from tests.view.outside import machine

from innkeeper.cli import main
from innkeeper.config import VideoModel

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/#key=[\w-]{32}")
FAKE = """#!/bin/sh
echo "$@" > said
cat >> said
"""


@pytest.fixture(autouse=True)
def folders(user: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.chdir(user)
    return user


def serves(*words: str) -> tuple[str, str]:
    """Runs an `inn` that serves a page, looks at it, and has enough."""
    command, pipe = [sys.executable, "-m", "innkeeper.cli", *words], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as inn:
        assert inn.stdout is not None
        address = inn.stdout.readline().strip()
        try:
            assert ADDRESS.fullmatch(address)
            with urllib.request.urlopen(address, timeout=20) as page:  # type: ignore[unused-ignore]
                assert page.status == 200
        finally:
            inn.send_signal(signal.SIGINT)
            rest, complaint = inn.communicate(timeout=20)
        assert (inn.returncode, rest) == (0, "")
    return address, complaint


def test_a_page_is_served_until_it_is_enough() -> None:
    with machine(video=VideoModel.VGA):
        first, complaint = serves("view", "one")
        assert complaint == "open it in a browser of this host; ^C ends it\n"
        second, _ = serves("view", "--domain", "one")
    assert first.partition("key=")[2] != second.partition("key=")[2]


def test_without_a_desktop_virt_viewer_serves_a_page() -> None:
    with machine(video=VideoModel.VGA):
        for words in (["-a", "one"], ["--attach", "--wait", "--reconnect", "-c", "qemu:///session", "one"], []):
            _, complaint = serves("virt-viewer", *words)
            assert complaint.startswith("there is no desktop here: the screen is on this page\n")


def test_with_a_desktop_virt_viewer_opens_a_window(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = folders / "remote-viewer"
    viewer.write_text(FAKE)
    viewer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folders}:{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":0")
    with machine(video=VideoModel.VGA):
        assert main(["virt-viewer", "-a", "-f", "--zoom", "150", "one"]) == 0
        options, *said = (folders / "said").read_text().splitlines()
        assert options == "--full-screen --zoom=150 -"
        assert said[:3] == ["[virt-viewer]", "type=vnc", "host=127.0.0.1"]
        viewer.write_text("#!/bin/sh\nexit 3\n")
        assert main(["virt-viewer", "one"]) == 2


def test_a_file_for_virt_viewer_is_private_and_true(folders: Path) -> None:
    file = folders / "one.vv"
    with machine(video=VideoModel.VGA) as one:
        one.screen.resize(3, 2)
        assert main(["view", "one", "--vv", str(file)]) == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        said = dict(line.split("=") for line in file.read_text().splitlines()[1:])
        assert (said["type"], said["host"], said["delete-this-file"]) == ("vnc", "127.0.0.1", "1")
        with Client(socket.create_connection(("127.0.0.1", int(said["port"])), 20)) as client:
            client.shake_hands(kind=2, password=said["password"])
        first = file.read_text()
        assert main(["view", "one", "--vv", str(file)]) == 0
        assert file.read_text() == first, "one port for all of them"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["view", "nobody"], "there is no machine 'nobody'"),
        (["view", "one", "--port", "70000"], "port is 70000; it must be between 0 and 65535"),
        (["view", "one", "--listen", "nowhere"], "cannot listen for browsers at nowhere: it is no IP address"),
        (["view", "one", "--listen", "192.0.2.1"], "cannot listen for browsers at 192.0.2.1:0"),
        (["view", "one", "--vv", "/none/a.vv"], "cannot write /none/a.vv: No such file or directory"),
        (["virt-viewer", "-c", "xen:///", "one"], "connect is 'xen:///'"),
    ],
)
def test_mistakes_are_named(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with machine(video=VideoModel.VGA):
        assert main(words) == 2
    assert complaint in capsys.readouterr().err


def test_a_machine_without_a_screen_has_none_for_viewers(capsys: pytest.CaptureFixture[str]) -> None:
    with machine():
        assert main(["view", "one", "--vv", "a.vv"]) == 2
    assert "the machine has no screen; give it a graphics card: --video vga" in capsys.readouterr().err


def test_beyond_this_host_there_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    with machine():
        command, pipe = [sys.executable, "-m", "innkeeper.cli", "view", "one", "--listen", "0.0.0.0"], subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as inn:
            assert inn.stdout is not None
            inn.stdout.readline()
            inn.send_signal(signal.SIGINT)
            _, complaint = inn.communicate(timeout=20)
    assert complaint.startswith("warning: whoever reaches 0.0.0.0 and has this address sees and drives one")
    capsys.readouterr()
