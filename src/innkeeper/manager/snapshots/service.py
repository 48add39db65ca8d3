"""Machines' disk snapshots as a service.

Arguments and results are JSON's own kinds. Machines are named by their name or their UUID. A snapshot of a machine that is shut off is of
all its disks at once, within qcow2 images or by overlays (`--disk-only`); all or none of them have it, whatever is killed.
"""

import threading
from pathlib import Path
from typing import TypedDict

from innkeeper.errors import ConfigError, HostError
from innkeeper.machine.names import running
from innkeeper.manager.elements import parse, text_of
from innkeeper.manager.served import served
from innkeeper.manager.snapshots import external, internal, live
from innkeeper.manager.snapshots.planning import planned
from innkeeper.manager.snapshots.recovery import recover_all, settle_all, still, swept
from innkeeper.manager.snapshots.snapshot import (
    EXTERNAL,
    INTERNAL,
    Snapshot,
    read_request,
    read_snapshot,
    unknown_parts_of,
    write_snapshot,
)
from innkeeper.manager.snapshots.table import SnapshotTable
from innkeeper.manager.storage.work import Work
from innkeeper.manager.store import Store


class SnapshotInfo(TypedDict):
    """One snapshot. `created` is in seconds since 1970."""

    name: str
    domain: str
    description: str
    parent: str | None
    children: int
    descendants: int
    current: bool
    created: int
    state: str
    location: str


class Taken(TypedDict):
    """`unknown` are the parts of the document that mean nothing here."""

    name: str
    unknown: list[str]


class Snapshots:
    """Of the machines of one store: the user's own, unless another file is given. Methods raise `InnkeeperError`."""

    def __init__(self, file: Path | None = None) -> None:
        """Does what a manager before this one was killed in the middle of."""
        self._file = file
        self.alone = threading.Lock()  # machines that run
        with Store(file) as store:
            recover_all(store)

    # ---- looking --------------------------------------------------------------------------------

    @served
    def list(self, domain: str) -> "list[SnapshotInfo]":
        """All of a machine, in the order of their names."""
        with Store(self._file) as store:
            table = SnapshotTable(store, store.get(domain))
            current = table.current()
            return [described(table, snapshot, current) for snapshot in table.all()]

    @served
    def info(self, domain: str, name: str | None = None) -> SnapshotInfo:
        """The current one without a name, as everywhere here."""
        with Store(self._file) as store:
            table = SnapshotTable(store, store.get(domain))
            return described(table, table.get(name), table.current())

    @served
    def xml(self, domain: str, name: str | None = None) -> str:
        with Store(self._file) as store:
            return write_snapshot(SnapshotTable(store, store.get(domain)).get(name))

    # ---- taking ---------------------------------------------------------------------------------

    @served
    def create(
        self, domain: str, xml: str, *, disk_only: bool = False, metadata: bool = True, reuse: bool = False
    ) -> Taken:
        """Takes one. `reuse`: the overlays are there. Without `metadata` it is not kept that there is one."""
        request = read_request(xml)
        with Store(self._file) as store:
            row = store.get(domain)
            if row.name in running():
                if not disk_only:
                    raise HostError(refusal(row.name))
                with self.alone, swept(store):
                    settle_all(SnapshotTable(store, row))
                    snapshot = live.take(
                        SnapshotTable(store, store.get(domain)), request, metadata=metadata, reuse=reuse
                    )
                return {"name": snapshot.name, "unknown": request.unknown}
            with still(store, row) as table:
                snapshot = planned(table, request, disk_only=disk_only)
                if snapshot.location == EXTERNAL:
                    external.take(table, snapshot, metadata=metadata, reuse=reuse)
                else:
                    internal.take(table, snapshot, metadata=metadata)
        return {"name": snapshot.name, "unknown": request.unknown}

    @served
    def redefine(self, domain: str, xml: str, *, current: bool = False) -> Taken:
        """Keeps that there is a snapshot, as its document says: for one whose metadata were lost."""
        snapshot = read_snapshot(xml)
        with Store(self._file) as store:
            table = SnapshotTable(store, store.get(domain))
            check_fits(table, snapshot, snapshot.name)
            with store.transaction() as database:
                table.insert(database, snapshot, current=current)
        return {"name": snapshot.name, "unknown": unknown_parts_of(xml)}

    @served
    def revise(
        self, domain: str, name: str, xml: str, *, current: bool = False, rename: bool = False, clone: bool = False
    ) -> str:
        """Keeps another document of a snapshot: with another name it is called so (`rename`), or is another one (`clone`). Returns its name."""
        snapshot = read_snapshot(xml)
        with Store(self._file) as store:
            table = SnapshotTable(store, store.get(domain))
            before = table.get(name)
            check_fits(table, snapshot, before.name)
            if snapshot.name != before.name:
                check_name(table, before, snapshot, allowed=rename or clone)
            with store.transaction() as database:
                if snapshot.name != before.name and not clone:
                    table.rename(database, before.name, snapshot.name)
                table.insert(database, snapshot, current=current)
        return snapshot.name

    # ---- changing -------------------------------------------------------------------------------

    @served
    def set_current(self, domain: str, name: str) -> str:
        """Marks one, whose child the next will be. The machine stays as it is."""
        with Store(self._file) as store:
            table = SnapshotTable(store, store.get(domain))
            found = table.get(name).name
            with store.transaction() as database:
                table.mark(database, found)
        return found

    @served
    def revert(self, domain: str, name: str | None = None) -> str:
        """Makes a machine, and its disks, what they were; what they are now is lost. Returns the snapshot's name."""
        with Store(self._file) as store, still(store, store.get(domain)) as table:
            snapshot = table.get(name)
            if snapshot.location == EXTERNAL:
                external.go_back(table, snapshot)
            else:
                internal.go_back(table, snapshot)
        return snapshot.name

    @served
    def delete(
        self,
        domain: str,
        name: str | None = None,
        *,
        children: bool = False,
        itself: bool = True,
        metadata_only: bool = False,
    ) -> Work[str]:
        """Forgets one, with `children` all below it too; the disks stay as they are now. Ends with the snapshot's name."""
        with Store(self._file) as store:
            row = store.get(domain)
            if metadata_only:
                return forget(SnapshotTable(store, row), name, children=children, itself=itself)
            with still(store, row) as table:
                snapshot = table.get(name)
                doomed = list(reversed(table.descendants(snapshot.name))) if children else []
                for each in doomed + [snapshot] * itself:
                    fresh = SnapshotTable(store, store.get(str(row.uuid)))
                    if each.location == EXTERNAL:
                        yield from external.remove(fresh, fresh.get(each.name))
                    else:
                        internal.remove(fresh, fresh.get(each.name))
                return snapshot.name


def check_fits(table: SnapshotTable, snapshot: Snapshot, name: str) -> None:
    """Raises `ConfigError` unless the machine can have it in place of the one that is called `name`."""
    row = table.domain
    uuid = text_of(parse(snapshot.xml, "the domain"), "uuid")
    if uuid != str(row.uuid):
        raise ConfigError(f"snapshot {snapshot.name} is of machine {uuid}; {row.name} is {row.uuid}")
    names = [each.name for each in table.all()]
    circle = snapshot.parent in [snapshot.name, name, *(each.name for each in table.descendants(name))]
    if snapshot.parent is not None and (snapshot.parent not in names or circle):
        raise ConfigError(
            f"the parent of snapshot {snapshot.name} cannot be {snapshot.parent!r}; define that one first"
        )


def check_name(table: SnapshotTable, before: Snapshot, snapshot: Snapshot, *, allowed: bool) -> None:
    """Raises `ConfigError` unless a snapshot can get this name."""
    if not allowed:
        raise ConfigError(
            f"the name of snapshot {before.name} was changed to {snapshot.name}; --rename or --clone says what is meant"
        )
    if any(each.name == snapshot.name for each in table.all()):
        raise ConfigError(f"machine {table.domain.name} has a snapshot {snapshot.name!r} already; give another name")
    if before.targets(INTERNAL):
        raise ConfigError(
            f"snapshot {before.name} is within the images of its disks under that name; only external ones get another"
        )


def forget(table: SnapshotTable, name: str | None, *, children: bool, itself: bool) -> str:
    """The metadata alone."""
    snapshot = table.get(name)
    doomed = list(reversed(table.descendants(snapshot.name))) if children else []
    with table.store.transaction() as database:
        for each in doomed + [snapshot] * itself:
            table.remove(database, each)
    return snapshot.name


def refusal(name: str) -> str:
    return (
        f"machine {name} runs, and a snapshot with its memory is not made: shut it off first, with inn shutdown {name}, "
        "or take one of its disks alone, with --disk-only"
    )


def described(table: SnapshotTable, snapshot: Snapshot, current: str | None) -> SnapshotInfo:
    below = table.descendants(snapshot.name)
    return {
        "name": snapshot.name,
        "domain": table.domain.name,
        "description": snapshot.description,
        "parent": snapshot.parent,
        "children": sum(each.parent == snapshot.name for each in below),
        "descendants": len(below),
        "current": snapshot.name == current,
        "created": snapshot.created,
        "state": snapshot.state,
        "location": snapshot.location,
    }
