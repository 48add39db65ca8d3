"""Definitions survive what happens to the programs that write them."""

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from innkeeper.errors import ConfigError, HostError
from innkeeper.manager import Store

ONE, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "machines.sqlite"


def test_what_was_stored_is_there_the_next_time(file: Path) -> None:
    with Store(file) as store:
        assert store.put("web", ONE, "<domain/>")
        store.set_autostart("web", on=True)
    with Store(file) as store:
        row = store.get("web")
        assert (row.uuid, row.xml, row.autostart) == (ONE, "<domain/>", True)
        assert store.get(str(ONE)) == row
        assert file.stat().st_mode & 0o777 == 0o600


def test_a_definition_is_replaced_and_keeps_its_mark(file: Path) -> None:
    with Store(file) as store:
        store.put("web", ONE, "old")
        store.set_autostart("web", on=True)
        assert not store.put("web", ONE, "new")
        assert (store.get("web").xml, store.get("web").autostart) == ("new", True)


def test_who_only_looks_waits_for_nobody(file: Path) -> None:
    with Store(file) as store:
        store.put("web", ONE, "x")
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with Store(file) as store:
        assert [row.name for row in store.all()] == ["web"]
    writer.execute("ROLLBACK")
    writer.close()


def test_neither_a_name_nor_a_uuid_is_had_twice(file: Path) -> None:
    with Store(file) as store:
        store.put("web", ONE, "x")
        with pytest.raises(ConfigError, match="named web exists already"):
            store.put("web", OTHER, "y")
        with pytest.raises(ConfigError, match="that of machine web"):
            store.put("mail", ONE, "y")
        assert [row.xml for row in store.all()] == ["x"]


def test_who_is_not_there_is_named(file: Path) -> None:
    with Store(file) as store:
        for ask in (store.get, store.remove):
            with pytest.raises(ConfigError, match="there is no machine 'web'"):
                ask("web")


def test_names_never_reach_sql(file: Path) -> None:
    with Store(file) as store:
        store.put("web", ONE, "x")
        with pytest.raises(ConfigError):
            store.remove("web' OR '1'='1")
        assert len(store.all()) == 1


def test_a_newer_file_is_left_alone(file: Path) -> None:
    with Store(file):
        pass
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(HostError, match="written by a newer Innkeeper"):
        Store(file)


def test_what_is_no_database_is_said(file: Path) -> None:
    file.write_text("all my machines" * 100)
    with pytest.raises(HostError, match="cannot use"):
        Store(file)
    assert file.read_text().startswith("all my machines")


def test_two_programs_wait_for_each_other(file: Path) -> None:
    def add(prefix: str) -> None:
        with Store(file) as store:
            for number in range(20):
                store.put(f"{prefix}{number}", uuid4(), "x")

    threads = [threading.Thread(target=add, args=(prefix,)) for prefix in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Store(file) as store:
        assert len(store.all()) == 40


def test_a_killed_writer_leaves_whole_definitions(file: Path) -> None:
    program = (
        "import sys; from uuid import UUID; from pathlib import Path; from innkeeper.manager import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for number in range(100000):\n"
        "    store.put(f'm{number}', UUID(int=number), 'x' * 1000); print(number, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, file], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as answers:
        answered = [int(answers.readline()) for _ in range(5)]
        process.kill()
        answered += [int(line) for line in answers if line.endswith("\n")]
    process.wait()
    with Store(file) as store:
        stored = {row.name: row.xml for row in store.all()}
    assert {f"m{number}" for number in answered} <= stored.keys()
    assert set(stored.values()) == {"x" * 1000}
