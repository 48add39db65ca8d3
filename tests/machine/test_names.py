"""Names of running machines: one each, private, gone with the run."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from innkeeper.errors import ConfigError, HostError
from innkeeper.folders import runtime_folder
from innkeeper.machine.names import Registration, check_name, control_of, process_of, running


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 64, "-v", "a\n"])
def test_names_that_no_folder_should_have_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="it must be at most 63"):
        check_name(name)


def test_a_full_host_takes_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(HostError, match="cannot register the name one: No space left"):
            Registration("one")
    assert running() == []
    Registration("one").close()


def test_a_name_is_taken_once_until_it_is_free_again() -> None:
    first = Registration("one")
    with pytest.raises(HostError, match=f"a machine named one runs already, as process {os.getpid()}"):
        Registration("one")
    assert running() == ["one"]
    first.close()
    assert running() == []
    Registration("one").close()


def test_who_is_at_a_machines_files_keeps_others_from_starting_it() -> None:
    at_work = Registration("one", still=True)
    assert (running(), running(taken=False), process_of("one")) == (["one"], [], None)
    with pytest.raises(HostError, match="the files of machine one are being changed; try again in a moment"):
        Registration("one")
    at_work.close()
    assert running() == []
    with pytest.raises(ConfigError):
        Registration("a/b", still=True)
    Registration("one").close()


def test_a_killed_run_leaves_its_name_free() -> None:
    code = "import os, sys; from innkeeper.machine.names import Registration; Registration('one'); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9

    Registration("one").close()


def test_a_name_is_taken_again_when_its_folder_was_removed(runtime: Path) -> None:
    one = Registration("one")
    one.renew()  # it is there
    shutil.rmtree(runtime / "innkeeper")
    other = Registration("one")
    with pytest.raises(HostError, match="a machine named one runs already"):
        one.renew()
    other.close()
    one.renew()
    assert running() == ["one"]
    assert process_of("one") == os.getpid()
    one.close()
    assert running() == []


def test_looking_at_a_name_does_not_take_it() -> None:
    Registration("one").close()
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            seen.extend(running())

    seen: list[str] = []
    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        time.sleep(0.2)
        assert seen == []  # nor do they see each other
        for _ in range(50):
            Registration("one").close()
    finally:
        ended.set()
        for looker in lookers:
            looker.join()


def test_the_only_machine_needs_no_name_and_several_do() -> None:
    with pytest.raises(HostError, match="no machine runs under a name"):
        control_of(None)
    one = Registration("one")
    assert control_of(None) == one.control == control_of("one")
    two = Registration("two")
    with pytest.raises(HostError, match="say which with --name: one, two"):
        control_of(None)
    with pytest.raises(HostError, match="no machine named three runs; these do: one, two"):
        control_of("three")
    one.close()
    two.close()


def test_folders_are_private_and_others_folders_are_not_trusted(runtime: Path) -> None:
    registration = Registration("one")
    assert stat.S_IMODE(registration.folder.stat().st_mode) == 0o700
    registration.close()
    (runtime / "innkeeper").chmod(0o755)
    with pytest.raises(HostError, match="is not a private folder of this user"):
        runtime_folder()
    (runtime / "innkeeper").chmod(0o700)


def test_there_is_a_folder_without_a_runtime_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")

    assert runtime_folder().name == f"innkeeper-{os.getuid()}"
