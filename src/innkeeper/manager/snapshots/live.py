"""Overlays for a machine that runs: its disks move onto them at one moment, and what they held is the snapshot.

The definition names the overlays before the machine is asked to move: as long as it has not, they are empty and show what lies below them.
So whatever is killed in between, nothing that the guest has written is where nobody looks. Its memory may go into a file at the same moment.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from innkeeper import storage
from innkeeper.errors import HostError, InnkeeperError
from innkeeper.machine.control import ask, watch
from innkeeper.machine.names import control_of, running
from innkeeper.manager.snapshots.drives import Drive, with_files, written_drives
from innkeeper.manager.snapshots.external import FILES, QCOW2, backing_of, unmake
from innkeeper.manager.snapshots.planning import planned
from innkeeper.manager.snapshots.snapshot import (
    DISK_ONLY,
    EXTERNAL,
    Part,
    Request,
    Snapshot,
    read_snapshot,
    write_snapshot,
)
from innkeeper.manager.snapshots.table import SnapshotTable
from innkeeper.manager.storage.staging import exists, sync
from innkeeper.records import dataclass
from innkeeper.storage import ImageOptions

LIVE = "live"
PATIENCE_S, LOOK_S = 5.0, 0.05
Disks = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class How:
    """In which way one is taken."""

    metadata: bool = True
    """It is kept that there is one."""
    reuse: bool = False
    """Files that it needs are there already."""
    end: bool = False
    """The machine ends with it."""


def state_of(name: str) -> str:
    """Of a machine that runs. Raises `HostError`."""
    for said in watch(control_of(name)):
        return said["state"]
    raise HostError(f"machine {name} has just ended")


def take(table: SnapshotTable, request: Request, how: How, memory: Part | None = None) -> Snapshot:
    """Raises `InnkeeperError`; then the machine and its definition are as they were."""
    now = disks_now(table.domain.name)
    state = DISK_ONLY if memory is None else state_of(table.domain.name)
    snapshot = planned(table, request, disk_only=True, state=state, memory=memory)
    disks = written_drives(snapshot.xml)
    check_same(table.domain.name, disks, now)
    overlays = {target: Path(snapshot.parts[target].file or "") for target in snapshot.targets(EXTERNAL)}
    for target, path in overlays.items():
        check_place(path, disks[target], reuse=how.reuse)
    if snapshot.memory_path is not None and not how.reuse and snapshot.memory_path.exists():
        raise exists(snapshot.memory_path)
    data = {
        "snapshot": write_snapshot(snapshot),
        "metadata": how.metadata,
        "made": [] if how.reuse else [str(path) for path in overlays.values()],
    }
    moving = prepare(table, snapshot, overlays, data, now)
    try:
        move(table.domain.name, snapshot, how)
    except InnkeeperError as error:
        if not settle(table, moving, data):
            raise HostError(f"machine {table.domain.name} stays on its disks: {error}") from error
        return snapshot
    settle(table, moving, data)
    return snapshot


def move(name: str, snapshot: Snapshot, how: How) -> None:
    """The machine moves, once its memory is kept if it is to be. Raises `InnkeeperError`."""
    overlays = {target: snapshot.parts[target].file for target in snapshot.targets(EXTERNAL)}
    if snapshot.memory_path is None:
        ask(control_of(name), "lay-overlays", overlays=overlays)
        return
    file = str(snapshot.memory_path)
    ask(control_of(name), "checkpoint", file=file, name=snapshot.name, disks=[], overlays=overlays, end=how.end)


def prepare(
    table: SnapshotTable, snapshot: Snapshot, overlays: dict[str, Path], data: dict[str, Any], now: Disks
) -> int:
    """Makes the overlays, and has the definition name them. Returns the number of the note that says so."""
    disks = written_drives(snapshot.xml)
    made = {target: path for target, path in overlays.items() if str(path) in data["made"]}
    number = table.note(FILES, {"paths": data["made"]})
    try:
        for target, path in made.items():
            lay_over(path, disks[target], now[target])
        xml = with_files(snapshot.xml, {target: (path, QCOW2) for target, path in overlays.items()})
        with table.store.transaction() as database:
            table.define(database, xml)
            table.own(database, made.values())
            table.done(database, number)
            return table.note_within(database, LIVE, data)
    except BaseException:
        unmake(made.values())
        table.forget(number)
        raise


def disks_now(name: str) -> Disks:
    """What a running machine is on, by targets."""
    return {str(disk["target"]): disk for disk in ask(control_of(name), "devices")["disks"]}


def disks_unless_ended(name: str) -> Disks | None:
    """None once it has ended. Raises `HostError` if it runs and does not answer."""
    deadline = time.monotonic() + PATIENCE_S
    while name in running():
        try:
            return disks_now(name)
        except HostError:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOOK_S)  # it may be about to end
    return None


def check_same(name: str, disks: dict[str, Drive], now: Disks) -> None:
    """Raises `HostError` where the machine runs from other disks than its definition says."""
    for target, drive in disks.items():
        source = now[target]["source"] if target in now else "not there"
        if source != str(drive.path):
            raise HostError(
                f"disk {target} of machine {name} is {drive.path} in its definition, and {source} while it runs; "
                "shut it off first"
            )
    for target, disk in now.items():
        if disk["device"] == "disk" and not disk["readonly"] and target not in disks:
            raise HostError(f"disk {target} of machine {name} is not in its definition; detach it first")


def check_place(path: Path, drive: Drive, *, reuse: bool) -> None:
    if not reuse and (path.exists() or path.is_symlink()):
        raise exists(path)
    if reuse and backing_of(path) != drive.file.resolve():
        raise HostError(f"the overlay of disk {drive.target} is {path}, which does not lie over {drive.file}")


def lay_over(path: Path, drive: Drive, now: dict[str, Any]) -> None:
    """What lies below is in use, so it is not looked at."""
    options = ImageOptions(backing_file=str(drive.file.absolute()), backing_fmt=now["format"])
    storage.create(path, now["size"], image_format=QCOW2, options=options, open_backing=False)
    path.chmod(0o600)
    sync(path)


def settle(table: SnapshotTable, number: int, data: dict[str, Any], *, ended: bool = False) -> bool:
    """Whether the machine has moved, as far as that matters: one that has ended starts from the overlays."""
    snapshot = read_snapshot(data["snapshot"])
    overlays = {target: snapshot.parts[target].file for target in snapshot.targets(EXTERNAL)}
    bases = {target: drive for target, drive in written_drives(snapshot.xml).items() if target in overlays}
    now = None if ended else disks_unless_ended(table.domain.name)
    moved = now is None or all(target in now and now[target]["source"] == file for target, file in overlays.items())
    memory = snapshot.memory_path
    if memory is not None and not memory.exists():
        # It was killed before its memory was whole; its disks are those of its last moment.
        moved = moved and bool(overlays)
        snapshot = replace(snapshot, memory=None, state=DISK_ONLY)
    with table.store.transaction() as database:
        if moved and data["metadata"]:
            table.insert(database, snapshot, current=True)
        if not moved:
            xml = table.store.get(str(table.domain.uuid)).xml
            table.define(
                database, with_files(xml, {target: (drive.file, drive.kind) for target, drive in bases.items()})
            )
            table.discard(database, [Path(path) for path in data["made"]] + ([memory] if memory is not None else []))
        table.done(database, number)
    return moved
