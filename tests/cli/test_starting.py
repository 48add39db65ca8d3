"""Machines that are started in virsh's other ways: paused, held by their command, for one time only."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.conftest import Inn

from innkeeper.testing.guests import SPIN, flat_guest

XML = """<domain type='bt'><name>{}</name><memory unit='MiB'>16</memory><os><type>hvm</type><kernel>{}</kernel></os></domain>"""
LIMIT_S = 30.0


@pytest.fixture(autouse=True)
def web(user: Path, inn: Inn, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that does nothing. Gives its folder."""
    monkeypatch.chdir(user)
    (user / "guest").write_bytes(flat_guest(SPIN))
    (user / "web.xml").write_text(XML.format("web", user / "guest"))
    inn("define web.xml")
    return user


def wait_for(inn: Inn, name: str, state: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while inn(f"domstate {name}").strip() != state:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_machine_is_ended_with_the_command_that_started_it(inn: Inn) -> None:
    assert inn("start web --autodestroy") == "Domain 'web' started\n\n"
    assert inn("domstate web").strip() == "shut off"


def test_a_machine_is_ended_when_its_command_is_killed(inn: Inn) -> None:
    words = "import time; from innkeeper.cli.machines import starting; starting.go_on = lambda *_: time.sleep(60)"
    code = f"{words}; from innkeeper.cli import main; main(['start', 'web', '--autodestroy'])"
    command = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None
    assert command.stdout.readline() == "Domain 'web' started\n"
    assert inn("domstate web").strip() == "running"
    os.kill(command.pid, signal.SIGKILL)
    command.wait()
    command.stdout.close()
    wait_for(inn, "web", "shut off")


def test_a_machine_is_created_for_one_time(inn: Inn, web: Path) -> None:
    (web / "once.xml").write_text(XML.format("once", web / "guest"))
    assert inn("virsh create once.xml --paused") == "Domain 'once' created from once.xml\n\n"
    assert inn("domstate once").strip() == "paused"
    inn("resume once")
    wait_for(inn, "once", "running")
    assert "once" in inn("list --transient --name")
    inn("destroy once")
    assert "once" not in inn("list --all --name")
    assert inn("create once.xml --autodestroy").startswith("Domain 'once' created")
    assert "once" not in inn("list --all --name")


def test_a_machine_that_is_kept_runs_as_another_document_says_for_one_time(inn: Inn, web: Path) -> None:
    kept = inn("dumpxml web")
    (web / "other.xml").write_text(kept.replace(">16<", ">24<"))
    assert "a machine named web exists already" in inn("create web.xml", status=2)
    inn("create other.xml")
    assert inn("domstate web").strip() == "running"
    assert inn("dumpxml web --inactive") == kept
    inn("managedsave web")
    assert "machine web has a managed save" in inn("create other.xml", status=2)
    inn("managedsave-remove web")
    assert inn("list --all --name").split() == ["web"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("start web --pass-fds 3", "--pass-fds cannot be had here: it is for containers"),
        ("start web --reset-nvram", "the machine keeps no UEFI variables in a file"),
        ("create web.xml --pass-fds 3", "--pass-fds cannot be had here: it is for containers"),
    ],
)
def test_what_cannot_be_had_is_refused_by_its_name(inn: Inn, words: str, said: str) -> None:
    assert said in inn(words, status=2)
    assert inn("domstate web").strip() == "shut off"


def test_uefi_variables_are_made_anew(inn: Inn, web: Path) -> None:
    (web / "vars").write_bytes(b"old")
    xml = inn("dumpxml web").replace(
        f"<kernel>{web}/guest</kernel>", f"<loader type='pflash'>{web}/none</loader><nvram>{web}/vars</nvram>"
    )
    (web / "uefi.xml").write_text(xml)
    inn("define uefi.xml")
    inn("start web --reset-nvram", status=2)  # there is no such firmware
    assert not (web / "vars").exists()
