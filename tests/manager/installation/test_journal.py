"""Installations that are cut short: nothing half-made stays, and nothing else goes."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from innkeeper.errors import ConfigError
from innkeeper.machine.names import Registration
from innkeeper.manager import Store
from innkeeper.manager.installation.journal import JOURNAL, STARTED, Journal, folder_of, installations, sweep

XML = "<domain type='qemu'><name>{}</name><memory unit='MiB'>64</memory></domain>"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path


def put(name: str, uuid: UUID) -> None:
    with Store() as store:
        store.put(name, uuid, XML.format(name))


def forget(uuid: str) -> None:
    with Store() as store:
        store.remove(uuid)


def names() -> list[str]:
    with Store() as store:
        return [row.name for row in store.all()]


def begin(journal: Journal) -> None:
    """As the machine's process does."""
    (journal.folder / JOURNAL).rename(journal.folder / STARTED)


def test_what_was_made_is_undone(home: Path) -> None:
    with Journal("a") as journal:
        journal.will_make(home / "disk")
        (home / "disk").touch()
        journal.will_make(home / "never")
        journal.will_define(str(UUID(int=1)))
        put("a", UUID(int=1))
        put("other", UUID(int=2))
        (journal.folder / "kernel").touch()
        assert journal.undo(forget) == [str(home / "disk")]
    assert names() == ["other"]
    assert not folder_of("a").exists()


def test_what_succeeded_stays(home: Path) -> None:
    with Journal("a") as journal:
        journal.will_make(home / "disk")
        (home / "disk").touch()
        (journal.folder / "kernel").touch()
        begin(journal)
        journal.succeeded(goes_on=True)
    assert (folder_of("a") / "kernel").exists()
    registered = Registration("a")
    assert sweep(forget) == []
    assert (folder_of("a") / "kernel").exists()
    registered.close()
    assert sweep(forget) == []  # the machine has ended: its installer's files are not needed
    assert not folder_of("a").exists()
    assert (home / "disk").exists()


def test_two_commands_do_not_make_the_same_machine() -> None:
    with Journal("a"), pytest.raises(ConfigError, match="machine a is being made by another command"):
        Journal("a")
    with Journal("a") as journal:
        journal.undo(forget)
    assert not folder_of("a").exists()


def test_a_sweep_leaves_those_alone_who_are_still_at_it(home: Path) -> None:
    with Journal("a") as journal:
        journal.will_make(home / "disk")
        (home / "disk").touch()
        assert sweep(forget) == []
    assert sweep(forget) == [str(home / "disk")]


def test_what_a_killed_command_left_is_swept_up(home: Path) -> None:
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from uuid import UUID\n"
        "from innkeeper.manager import Store\n"
        "from innkeeper.manager.installation.journal import Journal\n"
        "journal, disk = Journal('a'), Path(sys.argv[1])\n"
        "journal.will_make(disk)\n"
        "disk.touch()\n"
        "journal.will_define(str(UUID(int=1)))\n"
        f"Store().put('a', UUID(int=1), {XML.format('a')!r})\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, home / "disk"], check=False, env=os.environ)
    assert done.returncode == -9
    assert names() == ["a"]
    assert sweep(forget) == [str(home / "disk")]
    assert names() == []
    assert list(installations().iterdir()) == []


def test_a_machine_that_runs_is_given_up_by_who_asks_for_it_alone(home: Path) -> None:
    with Journal("a") as journal:
        journal.will_make(home / "disk")
        (home / "disk").touch()
        begin(journal)
        token = journal.token
    registered = Registration("a")
    assert sweep(forget) == []
    with Journal("a", resumes=True) as journal:
        assert journal.token == token
        assert not journal.claim()
        assert journal.undo(forget) == [str(home / "disk")]
    registered.close()
    assert not folder_of("a").exists()


def test_a_machine_does_not_begin_whose_making_is_undone() -> None:
    """Its process may be about to, when its manager is killed."""
    journal = Journal("a")
    assert journal.claim()
    with pytest.raises(FileNotFoundError):
        begin(journal)
    journal.close()
    folder = folder_of("a")
    assert sweep(forget) == []
    assert not folder.exists()
    journal = Journal("a")
    os.close(journal._lock)  # as when it is killed
    assert sweep(forget) == []
    with pytest.raises(FileNotFoundError):
        begin(journal)


def test_a_file_that_cannot_be_removed_is_in_nobodys_way(home: Path) -> None:
    journal = Journal("a")
    journal.will_make(home / "folder")
    (home / "folder").mkdir()
    os.close(journal._lock)  # as when it is killed
    assert sweep(forget) == []
    (home / "folder").rmdir()
    (home / "folder").touch()
    assert sweep(forget) == [str(home / "folder")]
    assert list(installations().iterdir()) == []


BROKEN = ["", "{}", "[]", '{"name": 1, "token": "x", "files": 7, "folders": [], "uuid": null}', '{"files": {"a": 1}}']


@pytest.mark.parametrize("words", BROKEN)
def test_a_journal_that_is_none_removes_nothing(words: str) -> None:
    folder = folder_of("a")
    folder.mkdir(parents=True)
    (folder / "made.json").write_text(words)
    assert sweep(forget) == []
    assert not folder.exists()
