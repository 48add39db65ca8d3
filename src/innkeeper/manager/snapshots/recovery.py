"""What a manager that was killed has left half-done: undone, or finished, as the journal says."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from innkeeper.errors import HostError, InnkeeperError
from innkeeper.machine.names import Registration, running
from innkeeper.manager.saves import check_no_save
from innkeeper.manager.snapshots import external, internal, live, memory, moving
from innkeeper.manager.snapshots.table import Entry, SnapshotTable, all_noted
from innkeeper.manager.storage.work import finish
from innkeeper.manager.store import Row, Store

SETTLED: dict[str, Callable[..., object]] = {
    live.LIVE: live.settle,
    moving.PIVOT: moving.settle,
    memory.CHECKPOINT: memory.settle,
    memory.FORGET: memory.finish_removing,
}
"""What a machine that runs can say, and of one that has ended is looked at."""

logger = logging.getLogger(__name__)


@contextmanager
def still(store: Store, domain: Row, *, replaces_save: bool = False) -> Iterator[SnapshotTable]:
    """The machine is shut off and cannot be started meanwhile; what was half-done is done. Raises `InnkeeperError`.

    It must have no managed save, unless what is done `replaces` that.
    """
    if domain.name in running():
        raise HostError(f"machine {domain.name} runs; shut it off first, with inn shutdown {domain.name}")
    try:
        registration = Registration(domain.name, still=True)
    except HostError as error:
        if domain.name not in running():
            raise  # the host is full, say
        raise HostError(f"machine {domain.name} has just been started, or its snapshots are being changed") from error
    try:
        sweep(store)  # before a file gets the name of one that is to be removed
        table = SnapshotTable(store, domain)
        noted = table.noted()
        for entry in noted:
            recover(table, entry)
        if noted:
            sweep(store)
        if not replaces_save:
            check_no_save(domain)
        yield SnapshotTable(store, store.get(str(domain.uuid))) if noted else table
        sweep(store)
    finally:
        registration.close()


def recover(table: SnapshotTable, entry: Entry) -> None:
    paths = [Path(path) for path in entry.data.get("paths", [])]
    if entry.action == internal.CREATE:
        internal.untake(entry.data["name"], paths)
        table.forget(entry.number)
    elif entry.action == external.FILES:
        external.unmake(paths)
        table.forget(entry.number)
    elif entry.action == internal.REVERT:
        internal.finish_going_back(table, entry.number, entry.data["name"], paths)
    elif entry.action == internal.DELETE:
        internal.finish_removing(table, entry.number, entry.data["name"], paths)
    elif entry.action in SETTLED:
        SETTLED[entry.action](table, entry.number, entry.data, ended=True)
    elif entry.action == moving.COMMIT:
        finish(moving.finish_committing(table, entry.number, entry.data))
    elif entry.action == external.MERGE:
        merges = [external.Merge(*merge) for merge in entry.data["merges"]]
        finish(external.finish_removing(table, entry.number, entry.data["name"], merges))


def recover_all(store: Store) -> None:
    """What fails, or has to wait until a machine is shut off, stays noted, and is tried again with its next snapshot."""
    sweep(store)
    known = {row.uuid: row for row in store.all()}
    for domain in dict.fromkeys(entry.domain for entry in all_noted(store)):
        try:
            if domain not in known:
                continue
            if known[domain].name in running():
                settle_all(SnapshotTable(store, known[domain]))
            else:
                with still(store, known[domain]):
                    pass
        except InnkeeperError as error:
            logger.warning("a snapshot of %s was not finished, and cannot be now: %s", known[domain].name, error)
    sweep(store)


def settle_all(table: SnapshotTable) -> None:
    """Of a machine that runs: whether it has moved onto overlays, or off them, and whether it has a snapshot."""
    for entry in table.noted():
        if entry.action in SETTLED:
            SETTLED[entry.action](table, entry.number, entry.data)


@contextmanager
def swept(store: Store) -> Iterator[None]:
    """Whatever comes of it, files that nothing needs any more are gone before and after."""
    sweep(store)
    try:
        yield
    finally:
        sweep(store)


def sweep(store: Store) -> None:
    """Removes the files that nothing needs any more."""
    for path in store.debris():
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("cannot remove %s, which nothing needs any more: %s", path, error.strerror)
        store.forget_debris(path)
