"""Snapshots in the store, and the journal of changes that are under way.

Images cannot be changed in one step with the store. So what is to be done is noted first, and unnoted in the step that says it is done; what
is still noted when nobody does it is undone or finished (`recovery.py`).
"""

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

from innkeeper.errors import ConfigError
from innkeeper.manager.snapshots.snapshot import (
    Snapshot,
    memory_as_json,
    memory_of_json,
    parts_as_json,
    parts_of_json,
)
from innkeeper.manager.storage.pool import brief
from innkeeper.manager.store import Row, Store
from innkeeper.records import dataclass

COLUMNS = "name, parent, created, state, description, parts, memory, xml"


@dataclass(frozen=True, slots=True)
class Entry:
    """One change that is noted."""

    number: int
    domain: UUID
    action: str
    data: dict[str, Any]


def domains_with_snapshots(store: Store) -> set[str]:
    """Their UUIDs."""
    return {uuid for (uuid,) in store.query("SELECT DISTINCT domain FROM snapshots")}


class SnapshotTable:
    """The snapshots of one machine."""

    def __init__(self, store: Store, domain: Row) -> None:
        self.store, self.domain = store, domain
        self._uuid = str(domain.uuid)

    def all(self) -> list[Snapshot]:
        """In the order of their names."""
        statement = f"SELECT {COLUMNS} FROM snapshots WHERE domain = ? ORDER BY name"  # noqa: S608 - a constant
        return [snapshot_of(row) for row in self.store.query(statement, self._uuid)]

    def get(self, name: str | None) -> Snapshot:
        """The current one without a name. Raises `ConfigError` if there is none."""
        wanted = self.current() if name is None else name
        if wanted is None:
            raise ConfigError(f"machine {self.domain.name} has no current snapshot; say which is meant")
        found = next((each for each in self.all() if each.name == wanted), None)
        if found is None:
            raise ConfigError(
                f"machine {self.domain.name} has no snapshot {brief(wanted)}; inn snapshot-list {self.domain.name} shows all"
            )
        return found

    def current(self) -> str | None:
        found = self.store.query("SELECT name FROM snapshots WHERE domain = ? AND current = 1", self._uuid)
        return found[0][0] if found else None

    def descendants(self, name: str) -> list[Snapshot]:
        """Parents before their children."""
        everything, found, wanted = self.all(), [], [name]
        while wanted:
            parent = wanted.pop(0)
            children = [each for each in everything if each.parent == parent]
            found += children
            wanted += [child.name for child in children]
        return found

    # ---- steps of a transaction -----------------------------------------------------------------

    def insert(self, database: sqlite3.Connection, snapshot: Snapshot, *, current: bool) -> None:
        """In place of one with the same name."""
        if current:
            self.mark(database, None)
        database.execute(
            f"INSERT INTO snapshots (domain, current, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
            " ON CONFLICT (domain, name) DO UPDATE SET parent = excluded.parent, created = excluded.created,"
            " state = excluded.state, description = excluded.description, parts = excluded.parts, memory = excluded.memory,"
            " xml = excluded.xml,"
            " current = max(current, excluded.current)",
            (
                self._uuid,
                int(current),
                snapshot.name,
                snapshot.parent,
                snapshot.created,
                snapshot.state,
                snapshot.description,
                parts_as_json(snapshot.parts),
                memory_as_json(snapshot.memory),
                snapshot.xml,
            ),
        )

    def mark(self, database: sqlite3.Connection, name: str | None) -> None:
        """As the current one; none, without a name."""
        database.execute("UPDATE snapshots SET current = (name IS ?) WHERE domain = ?", (name, self._uuid))

    def rename(self, database: sqlite3.Connection, before: str, name: str) -> None:
        """Its children know."""
        for column in ("name", "parent"):
            database.execute(
                f"UPDATE snapshots SET {column} = ? WHERE domain = ? AND {column} = ?",  # noqa: S608
                (name, self._uuid, before),
            )

    def remove(self, database: sqlite3.Connection, snapshot: Snapshot, *, keeps: bool = False) -> None:
        """Its children become its parent's, and so does the mark of the current one. What it has of memory goes too,
        unless it `keeps` that.
        """
        if snapshot.memory_path is not None and not keeps:
            self.discard(database, [snapshot.memory_path])
        if self.current() == snapshot.name:
            self.mark(database, snapshot.parent)
        database.execute("DELETE FROM snapshots WHERE domain = ? AND name = ?", (self._uuid, snapshot.name))
        database.execute(
            "UPDATE snapshots SET parent = ? WHERE domain = ? AND parent = ?",
            (snapshot.parent, self._uuid, snapshot.name),
        )

    def define(self, database: sqlite3.Connection, xml: str) -> None:
        """Changes the machine's own document."""
        database.execute("UPDATE domains SET xml = ? WHERE uuid = ?", (xml, self._uuid))

    def own(self, database: sqlite3.Connection, files: Iterable[Path]) -> None:
        """Notes files as made here: only those are ever removed by themselves."""
        rows = [(str(file), self._uuid) for file in files]
        database.executemany("INSERT OR REPLACE INTO snapshot_files (path, domain) VALUES (?, ?)", rows)

    def owned(self) -> set[Path]:
        return {
            Path(path) for (path,) in self.store.query("SELECT path FROM snapshot_files WHERE domain = ?", self._uuid)
        }

    def discard(self, database: sqlite3.Connection, files: Iterable[Path]) -> None:
        """Notes files that are to be removed, once the transaction is done."""
        for file in files:
            database.execute("DELETE FROM snapshot_files WHERE path = ?", (str(file),))
            database.execute("INSERT OR IGNORE INTO debris (path) VALUES (?)", (str(file),))

    # ---- the journal ----------------------------------------------------------------------------

    def note(self, action: str, data: dict[str, Any]) -> int:
        with self.store.transaction() as database:
            return self.note_within(database, action, data)

    def note_within(self, database: sqlite3.Connection, action: str, data: dict[str, Any]) -> int:
        done = database.execute(
            "INSERT INTO snapshot_journal (domain, action, data) VALUES (?, ?, ?)",
            (self._uuid, action, json.dumps(data)),
        )
        return int(done.lastrowid or 0)

    def forget(self, number: int) -> None:
        with self.store.transaction() as database:
            self.done(database, number)

    @staticmethod
    def done(database: sqlite3.Connection, number: int) -> None:
        database.execute("DELETE FROM snapshot_journal WHERE id = ?", (number,))

    def noted(self) -> list[Entry]:
        return [entry for entry in all_noted(self.store) if entry.domain == self.domain.uuid]


def all_noted(store: Store) -> list[Entry]:
    rows = store.query("SELECT id, domain, action, data FROM snapshot_journal ORDER BY id")
    return [Entry(number, UUID(domain), action, json.loads(data)) for number, domain, action, data in rows]


def snapshot_of(row: tuple[str, str | None, int, str, str, str, str | None, str]) -> Snapshot:
    name, parent, created, state, description, parts, memory, xml = row
    return Snapshot(
        name=name,
        parent=parent,
        created=created,
        state=state,
        description=description,
        parts=parts_of_json(parts),
        memory=memory_of_json(memory),
        xml=xml,
    )
