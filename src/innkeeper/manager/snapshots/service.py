"""Machines' snapshots as a service.

Arguments and results are JSON's own kinds. Machines are named by their name or their UUID. A snapshot is of all disks of a machine at once,
within qcow2 images or by overlays (`--disk-only`), and of a machine that runs its memory is part of it; all is there or nothing,
whatever is killed.
"""

import logging
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol, TypedDict

from innkeeper.errors import ConfigError, HostError, InnkeeperError
from innkeeper.machine.names import running
from innkeeper.manager.agents import quiet
from innkeeper.manager.elements import parse, text_of
from innkeeper.manager.naming import kept_in, row_in
from innkeeper.manager.saves import watched, xml_of
from innkeeper.manager.served import served
from innkeeper.manager.snapshots import external, internal, live, memory
from innkeeper.manager.snapshots.drives import named, with_files, written_drives
from innkeeper.manager.snapshots.recovery import recover_all, settle_all, still, swept
from innkeeper.manager.snapshots.snapshot import (
    ACTIVE,
    EXTERNAL,
    INTERNAL,
    PAUSED,
    Request,
    Snapshot,
    read_request,
    read_snapshot,
    unknown_parts_of,
    write_snapshot,
)
from innkeeper.manager.snapshots.steps import Flags, doomed, forget, memory_wanted, remove_running, take_still
from innkeeper.manager.snapshots.table import SnapshotTable
from innkeeper.manager.starting import reset_variables
from innkeeper.manager.storage.work import Work, finish
from innkeeper.manager.store import Row, Store

logger = logging.getLogger(__name__)


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


class Power(Protocol):
    """What starts and ends machines: `Domains`."""

    def launch(self, name: str, order: dict[str, Any], how: str) -> int: ...
    def destroy(self, name: str) -> str: ...
    def wait_for_end(self, name: str) -> None: ...


class Snapshots:
    """Of the machines of one store: the user's own, unless another file is given. Methods raise `InnkeeperError`."""

    def __init__(self, file: Path | None = None, power: Power | None = None) -> None:
        """Does what a manager before this one was killed in the middle of. Without `power` no machine is started or ended."""
        self._file, self._power = file, power
        self.alone = threading.Lock()  # machines that run
        with Store(file) as store:
            recover_all(store)

    # ---- looking --------------------------------------------------------------------------------

    @served
    def list(self, domain: str) -> "list[SnapshotInfo]":
        """All of a machine, in the order of their names."""
        with Store(self._file) as store:
            table = self._settled(store, domain)
            current = table.current()
            return [described(table, snapshot, current) for snapshot in table.all()]

    @served
    def info(self, domain: str, name: str | None = None) -> SnapshotInfo:
        """The current one without a name, as everywhere here."""
        with Store(self._file) as store:
            table = self._settled(store, domain)
            return described(table, table.get(name), table.current())

    @served
    def xml(self, domain: str, name: str | None = None) -> str:
        with Store(self._file) as store:
            return write_snapshot(SnapshotTable(store, row_in(store, domain)).get(name))

    def _settled(self, store: Store, domain: str) -> SnapshotTable:
        """What a manager before this one had begun may have ended meanwhile."""
        row = row_in(store, domain)
        table = SnapshotTable(store, row)
        if table.noted() and row.name in running() and self.alone.acquire(blocking=False):
            try:
                settle_all(table)
            except InnkeeperError as error:
                logger.info("a snapshot of %s is under way: %s", row.name, error)
            finally:
                self.alone.release()
        return table

    # ---- taking ---------------------------------------------------------------------------------

    @served
    def create(
        self, domain: str, xml: str, *, disk_only: bool = False, metadata: bool = True, reuse: bool = False
    ) -> Taken:
        """Takes one, and tells nothing of how far it is: see `take`."""
        words = [("disk-only", disk_only), ("no-metadata", not metadata), ("reuse-external", reuse)]
        return finish(self.take(domain, xml, [word for word, said in words if said]))

    @served
    def take(self, domain: str, xml: str, flags: Sequence[str]) -> Work[Taken]:
        """Takes one. Flags are `disk-only`, `no-metadata` (it is not kept that there is one), `reuse-external` (its files are
        there), `halt` (the machine is shut off with it) and `quiesce` (its guest's agent has its file systems be complete).
        """
        request, wanted = read_request(xml), Flags.of(flags)
        with Store(self._file) as store:
            name = kept_in(store, domain).name
        return (yield from watched(name, lambda: self._take(name, request, wanted)))

    def _take(self, name: str, request: Request, flags: Flags) -> Taken:
        with Store(self._file) as store:
            row = store.get(name)
            if row.name in running():
                with self.alone, swept(store):
                    settle_all(SnapshotTable(store, row))
                    table = SnapshotTable(store, store.get(row.name))
                    with quiet(row.name) if flags.quiesce else nullcontext():
                        snapshot = self._take_running(table, request, flags)
            else:
                with still(store, row) as table:
                    snapshot = take_still(table, request, flags)
        return {"name": snapshot.name, "unknown": request.unknown}

    def _take_running(self, table: SnapshotTable, request: Request, flags: Flags) -> Snapshot:
        wanted = memory_wanted(request, flags)
        if wanted is not None and wanted.kind == INTERNAL:
            snapshot = memory.take(table, request, flags.how)
        else:
            snapshot = live.take(table, request, flags.how, wanted)
        if flags.how.end and wanted is not None:
            self._with_power(table.domain).wait_for_end(table.domain.name)
        elif flags.how.end:
            self._with_power(table.domain).destroy(table.domain.name)
        return snapshot

    def _with_power(self, domain: Row) -> Power:
        if self._power is None:
            raise HostError(f"machine {domain.name} runs; shut it off first, with inn shutdown {domain.name}")
        return self._power

    @served
    def redefine(self, domain: str, xml: str, *, current: bool = False) -> Taken:
        """Keeps that there is a snapshot, as its document says: for one whose metadata were lost."""
        snapshot = read_snapshot(xml)
        with Store(self._file) as store:
            table = SnapshotTable(store, kept_in(store, domain))
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
            table = SnapshotTable(store, kept_in(store, domain))
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
            table = SnapshotTable(store, kept_in(store, domain))
            found = table.get(name).name
            with store.transaction() as database:
                table.mark(database, found)
        return found

    @served
    def revert(
        self, domain: str, name: str | None = None, *, begin: str | None = None, reset_nvram: bool = False
    ) -> str:
        """Makes a machine, its disks and its memory what they were; what they are now is lost. Returns the snapshot's name.

        It is then in the state of that time; or `begin` says `running` or `paused`. With `reset_nvram` its UEFI variables are its
        firmware's.
        """
        if begin not in (None, *ACTIVE):
            raise ConfigError(f"the machine cannot be {begin!r} afterwards, only {' or '.join(ACTIVE)}")
        with Store(self._file) as store:
            row = kept_in(store, domain)
            snapshot = SnapshotTable(store, row).get(name)
            memory.check_there(snapshot)
            if reset_nvram and snapshot.memory is not None:
                raise ConfigError(
                    f"snapshot {snapshot.name} has memory, which goes on with its UEFI variables; leave out --reset-nvram"
                )
            if row.name in running():
                self._with_power(row).destroy(row.name)
            with still(store, row, replaces_save=snapshot.memory is not None) as table:
                snapshot = table.get(snapshot.name)
                if any(part.kind == EXTERNAL for part in snapshot.parts.values()):
                    external.go_back(table, snapshot)
                else:
                    internal.go_back(table, snapshot)
            row = store.get(row.name)
        if reset_nvram:
            reset_variables(row.xml)
        state = begin or snapshot.state
        if begin is not None or snapshot.memory is not None:
            self._begin(row, snapshot, paused=state == PAUSED)
        return snapshot.name

    def _begin(self, row: Row, snapshot: Snapshot, *, paused: bool) -> None:
        order: dict[str, Any] = {"xml": row.xml, "paused": paused}
        file = snapshot.memory_path
        if file is not None:
            # As it ran, which need not be as it was defined, from the disks that it has now.
            disks = {drive.target: (drive.file, drive.kind) for drive in written_drives(row.xml).values()}
            xml = with_files(named(xml_of(file), row.name), disks)
            order |= {"xml": xml, "restore": str(file), "vouched": True}
        self._with_power(row).launch(row.name, order, "restored" if file is not None else "booted")

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
            row = kept_in(store, domain)
            if metadata_only:
                return forget(SnapshotTable(store, row), name, children=children, itself=itself)
            if row.name in running():
                with self.alone, swept(store):
                    settle_all(SnapshotTable(store, row))
                    return remove_running(store, row, name, children=children, itself=itself)
            with still(store, row) as table:
                snapshot = table.get(name)
                for each in doomed(table, snapshot, children=children, itself=itself):
                    fresh = SnapshotTable(store, store.get(str(row.uuid)))
                    if any(part.kind == EXTERNAL for part in each.parts.values()):
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
    if before.targets(INTERNAL) or (before.memory is not None and before.memory.kind == INTERNAL):
        raise ConfigError(
            f"snapshot {before.name} is within the images of its disks under that name; only external ones get another"
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
