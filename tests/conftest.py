"""What tests of several rooms need."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest


@pytest.fixture
def busybox(tmp_path: Path) -> Path:
    """A program that lists applets as busybox does: tests of archives need no package then."""
    path = tmp_path / "busybox"
    path.write_text("#!/bin/sh\nprintf 'busybox\\nls\\nsh\\n'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a user without machines, whose manager and machines are gone afterwards."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    yield tmp_path
    runtime = tmp_path / "run" / "innkeeper"
    for lock in (runtime / "manager.lock", *runtime.glob("*/lock")):
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):
            end(int(lock.read_text()))


def end(process: int) -> None:
    """Raises `ProcessLookupError` if there is no such process."""
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{process}").exists() and time.monotonic() < deadline:
        with suppress(ChildProcessError):
            os.waitpid(process, os.WNOHANG)
        time.sleep(0.01)
