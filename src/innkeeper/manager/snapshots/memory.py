"""Snapshots of machines that run, with their memory: within the disks' images, and a file for the memory.

The machine's own process makes all of it at one moment. The file has its name before the disks get their part, and loses it if one
of them cannot: so where it is, and the machine still runs, all is whole. Of a process that was killed the images are looked at too.
"""

import time
from pathlib import Path
from typing import Any

from innkeeper import storage
from innkeeper.errors import ConfigError, HostError, ImageError, InnkeeperError
from innkeeper.machine.control import ask
from innkeeper.machine.names import control_of, running
from innkeeper.machine.state_file import SavedMachine
from innkeeper.manager.snapshots.drives import Drive, written_drives
from innkeeper.manager.snapshots.internal import number_in, untake
from innkeeper.manager.snapshots.live import Disks, How, check_same, disks_now, state_of
from innkeeper.manager.snapshots.planning import planned
from innkeeper.manager.snapshots.snapshot import INTERNAL, Part, Request, Snapshot, read_snapshot, write_snapshot
from innkeeper.manager.snapshots.table import SnapshotTable

CHECKPOINT, FORGET = "checkpoint", "forget"
PATIENCE_S, LOOK_S = 5.0, 0.05


def take(table: SnapshotTable, request: Request, how: How) -> Snapshot:
    """Raises `InnkeeperError`; then neither the machine nor its images have any of it."""
    name = table.domain.name
    now = disks_now(name)
    snapshot = planned(table, request, disk_only=False, state=state_of(name), memory=Part(INTERNAL))
    check_same(name, written_drives(snapshot.xml), now)
    for target in snapshot.targets(INTERNAL):
        check_image(target, now)
    file = snapshot.memory_path
    if file is not None and file.exists():
        raise ConfigError(
            f"machine {name} has had a snapshot {snapshot.name!r}, whose memory is there still; give another name, "
            "or have it again with inn snapshot-create --redefine"
        )
    data = {"snapshot": write_snapshot(snapshot), "metadata": how.metadata}
    number = table.note(CHECKPOINT, data)
    try:
        targets = snapshot.targets(INTERNAL)
        ask(control_of(name), "checkpoint", file=str(file), name=snapshot.name, disks=targets, end=how.end)
    except InnkeeperError as error:
        if not settle(table, number, data):
            raise HostError(f"{error}; inn snapshot-create --disk-only keeps the disks alone") from error
        return snapshot
    settle(table, number, data, known=True)
    return snapshot


def check_image(target: str, now: Disks) -> None:
    if now[target]["format"] != "qcow2":
        raise ConfigError(
            f"disk {target}, {now[target]['source']}, is {now[target]['format']}, and only qcow2 images hold snapshots; "
            "convert it, or take an external one with --memspec FILE"
        )


def settle(
    table: SnapshotTable, number: int, data: dict[str, Any], *, known: bool = False, ended: bool = False
) -> bool:
    """Whether there is the snapshot: all of it, or nothing is left. `known`: the machine has said so; or it has `ended`.

    Raises `InnkeeperError`.
    """
    snapshot = read_snapshot(data["snapshot"])
    file = snapshot.memory_path
    whole = known or whole_now(None if ended else table.domain.name, snapshot)
    with table.store.transaction() as database:
        if whole and data["metadata"]:
            table.insert(database, snapshot, current=True)
        if not whole and file is not None:
            table.discard(database, [file])
        table.done(database, number)
    return whole


def whole_now(machine: str | None, snapshot: Snapshot) -> bool:
    """`machine` is its name, if it may run."""
    runs = machine is not None and still_runs(machine)
    file = snapshot.memory_path
    there = file is not None and file.exists()
    if runs:
        return there
    images = images_of(snapshot)
    if there and all(path.exists() and number_in(path, snapshot.name) is not None for path in images):
        return True
    untake(snapshot.name, images)
    return False


def still_runs(machine: str) -> bool:
    """Not in the middle of a snapshot. Raises `HostError` if that takes long."""
    deadline = time.monotonic() + PATIENCE_S
    while machine in running():
        try:
            if ask(control_of(machine), "save-progress") is None:
                return True
        except HostError:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise HostError(f"machine {machine} is in the middle of a snapshot or a save; wait until that is done")
        time.sleep(LOOK_S)
    return False


def images_of(snapshot: Snapshot) -> list[Path]:
    disks = written_drives(snapshot.xml)
    return [path for target in snapshot.targets(INTERNAL) if (path := disks[target].path) is not None]


# ---- gone back to -----------------------------------------------------------------------------------


def check_there(snapshot: Snapshot) -> None:
    """Before anything is given up for it, of a machine that may run: raises `InnkeeperError` if a part of it is lost."""
    for path in images_of(snapshot):
        names = [found["name"] for found in storage.snapshots(path, share=True)]
        if snapshot.name not in names:
            raise ImageError(f"{path} has no snapshot {snapshot.name!r} any more")
    if snapshot.memory_path is None:
        return
    try:
        SavedMachine(snapshot.memory_path).close()
    except InnkeeperError as error:
        raise type(error)(f"snapshot {snapshot.name} has lost its memory: {error}") from error


# ---- deleted while the machine runs -----------------------------------------------------------------


def remove(table: SnapshotTable, snapshot: Snapshot) -> None:
    """Raises `InnkeeperError`; then it is still there, unless an image has failed meanwhile."""
    name, disks, now = table.domain.name, written_drives(snapshot.xml), disks_now(table.domain.name)
    for target in snapshot.targets(INTERNAL):
        check_on(name, target, disks[target], now)
    data = {"name": snapshot.name, "targets": snapshot.targets(INTERNAL)}
    finish_removing(table, table.note(FORGET, data), data)


def check_on(machine: str, target: str, drive: Drive, now: Disks) -> None:
    source = now[target]["source"] if target in now else "not there"
    if source != str(drive.path):
        raise HostError(
            f"disk {target} of machine {machine} is {source} now, and the snapshot is in {drive.path}, which lies below that; "
            f"shut it off first, with inn shutdown {machine}"
        )


def finish_removing(table: SnapshotTable, number: int, data: dict[str, Any], *, ended: bool = False) -> None:
    """Can be done again, by a machine that runs or without it."""
    name, machine = data["name"], table.domain.name
    snapshot = table.get(name)
    if not ended and machine in running():
        ask(control_of(machine), "forget-snapshot", name=name, disks=data["targets"])
    else:
        untake(name, images_of(snapshot))
    with table.store.transaction() as database:
        table.remove(database, snapshot)
        table.done(database, number)
