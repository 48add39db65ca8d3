"""Snapshots within qcow2 images: taken of all disks, gone back to, and removed, as one step each.

Each image changes in a step of its own (`crates/innkeeper-block/src/tools/snapshot.rs`); the journal makes one of them all.
"""

from collections.abc import Iterable
from pathlib import Path

from innkeeper import storage
from innkeeper.errors import ConfigError, ImageError
from innkeeper.manager.saves import managed_file
from innkeeper.manager.snapshots.drives import Drive, written_drives
from innkeeper.manager.snapshots.snapshot import INTERNAL, Snapshot
from innkeeper.manager.snapshots.table import SnapshotTable
from innkeeper.manager.storage import locks

CREATE, REVERT, DELETE = "create", "revert", "delete"


def take(table: SnapshotTable, snapshot: Snapshot, *, metadata: bool) -> None:
    """Raises `InnkeeperError`; then no image has it."""
    disks = written_drives(snapshot.xml)
    paths = [images_of(disks[target], snapshot.name, there=False) for target in snapshot.targets(INTERNAL)]
    number = table.note(CREATE, {"name": snapshot.name, "paths": [str(path) for path in paths]})
    try:
        for path in paths:
            storage.create_snapshot(path, snapshot.name)
    except BaseException:
        untake(snapshot.name, paths)
        table.forget(number)
        raise
    with table.store.transaction() as database:
        if metadata:
            table.insert(database, snapshot, current=True)
        table.done(database, number)


def images_of(drive: Drive, name: str, *, there: bool) -> Path:
    """The image of a disk, which nobody uses. Raises `InnkeeperError` unless it can have the snapshot, or has it."""
    path = drive.file
    if drive.kind != "qcow2":
        raise ConfigError(
            f"disk {drive.target}, {path}, is {drive.kind}, and only qcow2 images hold snapshots; "
            "convert it, or take an external one with --disk-only"
        )
    locks.check_unused(path, f"disk {drive.target}, {path},")
    known = number_in(path, name) is not None
    if known and not there:
        raise ConfigError(f"disk {drive.target}, {path}, has a snapshot {name!r} already; give another name")
    if there and not known:
        raise ImageError(f"disk {drive.target}, {path}, has no snapshot {name!r} any more")
    return path


def number_in(path: Path, name: str) -> str | None:
    """The image tools take a number for an id before they take it for a name."""
    return next((str(found["id"]) for found in storage.snapshots(path) if found["name"] == name), None)


def untake(name: str, paths: Iterable[Path]) -> None:
    """Also what was noted and never came about."""
    for path in paths:
        number = number_in(path, name) if path.exists() else None
        if number is not None:
            storage.delete_snapshot(path, number)


def go_back(table: SnapshotTable, snapshot: Snapshot) -> None:
    """All disks become what they were. Raises `InnkeeperError` before anything has changed, unless an image then fails."""
    disks = written_drives(snapshot.xml)
    paths = [images_of(disks[target], snapshot.name, there=True) for target in snapshot.targets(INTERNAL)]
    number = table.note(REVERT, {"name": snapshot.name, "paths": [str(path) for path in paths]})
    finish_going_back(table, number, snapshot.name, paths)


def finish_going_back(table: SnapshotTable, number: int, name: str, paths: Iterable[Path]) -> None:
    """Can be done again and again: the disks are the same afterwards."""
    for path in paths:
        found = number_in(path, name)
        if found is None:
            raise ImageError(f"{path} has no snapshot {name!r} any more")
        storage.apply_snapshot(path, found)
    snapshot = table.get(name)
    with table.store.transaction() as database:
        table.define(database, snapshot.xml)
        table.mark(database, name)
        table.discard(database, [managed_file(table.domain.uuid)] if snapshot.memory is not None else [])
        table.done(database, number)


def remove(table: SnapshotTable, snapshot: Snapshot) -> None:
    """Raises `InnkeeperError`; then it is still there, unless an image has failed meanwhile."""
    disks = written_drives(snapshot.xml)
    paths = [disks[target].file for target in snapshot.targets(INTERNAL)]
    for path in paths:
        locks.check_unused(path, str(path))
    number = table.note(DELETE, {"name": snapshot.name, "paths": [str(path) for path in paths]})
    finish_removing(table, number, snapshot.name, paths)


def finish_removing(table: SnapshotTable, number: int, name: str, paths: Iterable[Path]) -> None:
    untake(name, paths)
    with table.store.transaction() as database:
        table.remove(database, table.get(name))
        table.done(database, number)
