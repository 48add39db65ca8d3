"""What is done to take a snapshot, and to delete some, once it is known of which machine."""

from collections.abc import Sequence
from dataclasses import field

from innkeeper.errors import ConfigError, HostError
from innkeeper.manager.snapshots import external, internal, memory
from innkeeper.manager.snapshots.live import How
from innkeeper.manager.snapshots.planning import planned
from innkeeper.manager.snapshots.snapshot import EXTERNAL, INTERNAL, NONE, Part, Request, Snapshot
from innkeeper.manager.snapshots.table import SnapshotTable
from innkeeper.manager.store import Row, Store
from innkeeper.records import dataclass

FLAGS = ("disk-only", "no-metadata", "reuse-external", "halt", "quiesce")


@dataclass(frozen=True, slots=True)
class Flags:
    """How one is to be taken, in virsh's words."""

    disk_only: bool = False
    quiesce: bool = False
    """The file systems of a guest that runs are as on disks that were unmounted: its agent sees to that."""
    how: How = field(default_factory=How)

    @classmethod
    def of(cls, words: Sequence[str]) -> "Flags":
        """Raises `ConfigError` for one that is unknown."""
        unknown = [word for word in words if word not in FLAGS]
        if unknown:
            raise ConfigError(f"a snapshot is taken with {unknown[0]!r}; known are {', '.join(FLAGS)}")
        if "quiesce" in words and "disk-only" not in words:
            raise ConfigError("--quiesce is for snapshots of disks alone; add --disk-only")
        return cls(
            disk_only="disk-only" in words,
            quiesce="quiesce" in words,
            how=How(metadata="no-metadata" not in words, reuse="reuse-external" in words, end="halt" in words),
        )


def take_still(table: SnapshotTable, request: Request, flags: Flags) -> Snapshot:
    """Of a machine that is shut off."""
    if flags.quiesce:
        name = table.domain.name
        raise ConfigError(f"machine {name} does not run, so nobody writes to its disks; leave out --quiesce")
    if request.memory is not None and request.memory.kind != NONE:
        raise ConfigError(f"machine {table.domain.name} does not run, so it has no memory to keep; leave --memspec out")
    snapshot = planned(table, request, disk_only=flags.disk_only)
    if snapshot.location == EXTERNAL:
        external.take(table, snapshot, metadata=flags.how.metadata, reuse=flags.how.reuse)
    else:
        internal.take(table, snapshot, metadata=flags.how.metadata)
    return snapshot


def memory_wanted(request: Request, flags: Flags) -> Part | None:
    """Of a machine that runs."""
    wanted = request.memory
    if flags.disk_only and wanted is not None and wanted.kind != NONE:
        raise ConfigError("a snapshot of disks alone has no memory; leave --disk-only or --memspec out")
    if flags.disk_only or (wanted is not None and wanted.kind == NONE):
        return None
    return wanted if wanted is not None else Part(INTERNAL)


def doomed(table: SnapshotTable, snapshot: Snapshot, *, children: bool, itself: bool) -> list[Snapshot]:
    """Children before their parents."""
    below = list(reversed(table.descendants(snapshot.name))) if children else []
    return below + [snapshot] * itself


def remove_running(store: Store, row: Row, name: str | None, *, children: bool, itself: bool) -> str:
    """Of a machine that runs, which can only forget what is within its images."""
    table = SnapshotTable(store, row)
    snapshot = table.get(name)
    all_of_them = doomed(table, snapshot, children=children, itself=itself)
    outside = next((each for each in all_of_them if each.location == EXTERNAL), None)
    if outside is not None:
        raise HostError(
            f"machine {row.name} runs, and snapshot {outside.name} has overlays, which are merged while it does not; "
            f"shut it off first, with inn shutdown {row.name}"
        )
    for each in all_of_them:
        memory.remove(SnapshotTable(store, row), each)
    return snapshot.name


def forget(table: SnapshotTable, name: str | None, *, children: bool, itself: bool) -> str:
    """The metadata alone."""
    snapshot = table.get(name)
    with table.store.transaction() as database:
        for each in doomed(table, snapshot, children=children, itself=itself):
            table.remove(database, each, keeps=True)
    return snapshot.name
