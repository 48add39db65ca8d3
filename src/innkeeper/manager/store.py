"""Where definitions are kept: one SQLite file, written in whole steps.

Whatever was answered is there after a kill; two programs at once wait for each other. `user_version` says which migrations a file has had.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from innkeeper.errors import ConfigError, HostError
from innkeeper.folders import state_folder
from innkeeper.records import dataclass

PATIENCE_S = 10.0  # for another program that is writing

MIGRATIONS = (
    """
    CREATE TABLE domains (
        uuid TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        xml TEXT NOT NULL,
        autostart INTEGER NOT NULL DEFAULT 0 CHECK (autostart IN (0, 1))
    ) STRICT;
    """,
    """
    CREATE TABLE debris (path TEXT PRIMARY KEY) STRICT;
    """,
    """
    CREATE TABLE pools (
        uuid TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        xml TEXT NOT NULL,
        persistent INTEGER NOT NULL CHECK (persistent IN (0, 1)),
        autostart INTEGER NOT NULL DEFAULT 0 CHECK (autostart IN (0, 1)),
        started TEXT
    ) STRICT;
    CREATE TABLE pools_offered (name TEXT PRIMARY KEY) STRICT;
    """,
    """
    CREATE TABLE snapshots (
        domain TEXT NOT NULL,
        name TEXT NOT NULL,
        parent TEXT,
        created INTEGER NOT NULL,
        state TEXT NOT NULL,
        description TEXT NOT NULL,
        parts TEXT NOT NULL,
        xml TEXT NOT NULL,
        current INTEGER NOT NULL DEFAULT 0 CHECK (current IN (0, 1)),
        PRIMARY KEY (domain, name)
    ) STRICT;
    CREATE TABLE snapshot_journal (
        id INTEGER PRIMARY KEY,
        domain TEXT NOT NULL,
        action TEXT NOT NULL,
        data TEXT NOT NULL
    ) STRICT;
    CREATE TABLE snapshot_files (path TEXT PRIMARY KEY, domain TEXT NOT NULL) STRICT;
    """,
    """
    CREATE TABLE networks (
        uuid TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        xml TEXT NOT NULL,
        autostart INTEGER NOT NULL DEFAULT 0 CHECK (autostart IN (0, 1))
    ) STRICT;
    INSERT INTO networks (uuid, name, xml) VALUES (
        'b9c1e4a6-4d3f-4c55-9d0a-6e6e00000001',
        'default',
        '<network>
  <name>default</name>
  <uuid>b9c1e4a6-4d3f-4c55-9d0a-6e6e00000001</uuid>
  <forward mode="nat" />
  <bridge name="virbr0" stp="off" delay="0" />
  <ip address="192.168.122.1" netmask="255.255.255.0">
    <dhcp>
      <range start="192.168.122.2" end="192.168.122.254" />
    </dhcp>
  </ip>
</network>
'
    );
    """,
    "ALTER TABLE snapshots ADD COLUMN memory TEXT;",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One machine, as it is stored; or as it runs, if it is not `persistent`."""

    name: str
    uuid: UUID
    xml: str
    autostart: bool
    persistent: bool = True


class Store:
    """All machines of one user."""

    def __init__(self, file: Path | None = None) -> None:
        """Raises `HostError` if it cannot be opened."""
        self._file = file or state_folder() / "machines.sqlite"
        with self._told():
            self._database = sqlite3.connect(self._file, timeout=PATIENCE_S, isolation_level=None)
            self._file.chmod(0o600)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._migrate()

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, name: str, uuid: UUID, xml: str) -> bool:
        """Stores a definition, in place of the one with the same name and UUID; tells whether it is new.

        Raises `ConfigError` if the name or the UUID is another machine's.
        """
        with self._writing():
            by_name = self._database.execute("SELECT uuid FROM domains WHERE name = ?", (name,)).fetchone()
            by_uuid = self._database.execute("SELECT name FROM domains WHERE uuid = ?", (str(uuid),)).fetchone()
            if by_name is not None and by_name[0] != str(uuid):
                raise ConfigError(f"a machine named {name} exists already, with UUID {by_name[0]}; give another name")
            if by_uuid is not None and by_uuid[0] != name:
                raise uuid_taken(uuid, by_uuid[0])
            self._database.execute(
                "INSERT INTO domains (uuid, name, xml) VALUES (?, ?, ?)"
                " ON CONFLICT (uuid) DO UPDATE SET xml = excluded.xml",
                (str(uuid), name, xml),
            )
        return by_uuid is None

    def revise(self, name: str, change: Callable[[str], str]) -> None:
        """Replaces a definition by what `change` makes of it, with nobody in between. Raises what it raises."""
        with self._writing():
            row = self.get(name)
            self._database.execute("UPDATE domains SET xml = ? WHERE uuid = ?", (change(row.xml), str(row.uuid)))

    def get(self, name: str) -> Row:
        """By name or UUID. Raises `ConfigError` if there is none."""
        found = self.find(name)
        if found is None:
            raise no_machine(name)
        return found

    def find(self, name: str) -> Row | None:
        """By name or UUID."""
        with self._told():
            found = self._database.execute(
                "SELECT name, uuid, xml, autostart FROM domains WHERE name = ?1 OR uuid = lower(?1)", (name,)
            ).fetchone()
        return row(found) if found is not None else None

    def all(self) -> list[Row]:
        """In the order of their names."""
        with self._told():
            found = self._database.execute("SELECT name, uuid, xml, autostart FROM domains ORDER BY name").fetchall()
        return [row(each) for each in found]

    def remove(self, name: str, debris: Iterable[Path] = ()) -> Row:
        """Forgets a definition. Raises `ConfigError` if there is none.

        `debris` are files that are to go with it: noted in the same step, so that a kill cannot leave them behind.
        """
        with self._writing():
            gone = self.get(name)
            self._database.execute("DELETE FROM domains WHERE uuid = ?", (str(gone.uuid),))
            for kept_of_it in ("snapshots", "snapshot_journal", "snapshot_files"):
                self._database.execute(f"DELETE FROM {kept_of_it} WHERE domain = ?", (str(gone.uuid),))  # noqa: S608
            rows = [(str(path),) for path in debris]
            self._database.executemany("INSERT OR IGNORE INTO debris (path) VALUES (?)", rows)
        return gone

    def debris(self) -> list[Path]:
        """Files that should be gone."""
        with self._told():
            return [Path(path) for (path,) in self._database.execute("SELECT path FROM debris ORDER BY path")]

    def forget_debris(self, path: Path) -> None:
        """It is gone, or cannot be removed and its user knows."""
        with self._writing():
            self._database.execute("DELETE FROM debris WHERE path = ?", (str(path),))

    def set_autostart(self, name: str, *, on: bool) -> None:
        """Raises `ConfigError` if there is no such machine."""
        with self._writing():
            uuid = str(self.get(name).uuid)
            self._database.execute("UPDATE domains SET autostart = ? WHERE uuid = ?", (int(on), uuid))

    # ---- for other kinds of things ---------------------------------------------------------------

    def query(self, statement: str, *values: object) -> list[Any]:
        """The rows that a SELECT finds."""
        with self._told():
            return self._database.execute(statement, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what is executed."""
        with self._writing():
            yield self._database

    # ---- the file -------------------------------------------------------------------------------

    def _version(self) -> int:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        return int(version)

    def _migrate(self) -> None:
        """Whoever finds all of it done writes nothing, and so waits for nobody."""
        if (found := self._version()) > len(MIGRATIONS):
            raise HostError(f"{self._file} was written by a newer Innkeeper (version {found}); use that one")
        if found == len(MIGRATIONS):
            return
        with self._writing():
            for migration in MIGRATIONS[self._version() :]:  # another program may have been quicker
                for statement in filter(str.strip, migration.split(";")):
                    self._database.execute(statement)
            self._database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """All or nothing."""
        with self._told():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            full = os.statvfs(self._file.parent).f_bavail == 0  # SQLite calls that an input/output error
            why = "no space left on device; make some first" if full else error
            raise HostError(f"cannot use {self._file}: {why}") from error


def no_machine(word: str) -> ConfigError:
    return ConfigError(f"there is no machine {word!r}; inn list --all shows all")


def uuid_taken(uuid: UUID, name: str) -> ConfigError:
    return ConfigError(f"UUID {uuid} is that of machine {name}; leave it out to have one made up")


def row(found: tuple[str, str, str, int]) -> Row:
    name, uuid, xml, autostart = found
    return Row(name, UUID(uuid), xml, bool(autostart))
