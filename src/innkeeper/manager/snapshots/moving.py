"""A disk of a machine moves to another image: the one that it was committed or copied to.

Of a machine that runs: before it is asked to move, both images are the same and are kept so, whatever fails. So the definition may name either at
any moment, and is changed first; what is noted says how to look which it is, should this manager be killed before it hears. Of one that is shut off: what
lies below takes what the others have, which can be done again and again, and the definition names it in the step that says it is done.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from innkeeper import storage
from innkeeper.errors import ConfigError, HostError, InnkeeperError
from innkeeper.machine.control import ask
from innkeeper.machine.names import control_of
from innkeeper.manager.snapshots.drives import Drive, with_files, written_drives
from innkeeper.manager.snapshots.external import QCOW2
from innkeeper.manager.snapshots.live import disks_unless_ended
from innkeeper.manager.snapshots.table import SnapshotTable
from innkeeper.manager.storage import locks
from innkeeper.manager.storage.work import Work, in_parts

PIVOT, COMMIT = "pivot", "commit"


def find(xml: str, path: str) -> Drive:
    """The disk of a document, by its target or its file. Raises `ConfigError` if it has none such."""
    disks = written_drives(xml)
    for target, drive in disks.items():
        if path == target or Path(path) == drive.path:
            return drive
    raise ConfigError(
        f"the machine has no disk {path[:200]} that can be written to; those are {', '.join(disks) or 'none'}"
    )


def check_no_snapshot(table: SnapshotTable, target: str, files: Iterable[Path]) -> None:
    """Raises `ConfigError` if a snapshot keeps what one of these holds now: it would hold something else."""
    touched = {file.resolve() for file in files}
    for each in table.all():
        drive = written_drives(each.xml).get(target)
        if drive is not None and drive.path is not None and drive.path.resolve() in touched:
            name = table.domain.name
            raise ConfigError(
                f"snapshot {each.name} of machine {name} keeps what {drive.path} holds now, which would be lost; have it forgotten "
                f"first, with inn snapshot-delete {name} {each.name} --metadata"
            )


# ---- while it runs ----------------------------------------------------------------------------------


def move(table: SnapshotTable, target: str) -> None:
    """Raises `InnkeeperError`; then the machine and its definition are where they were."""
    name = table.domain.name
    place = ask(control_of(name), "block-strict", disk=target, strict=True)
    target = place["target"]
    try:
        check_same(table, target, place["source"])
        data = {
            "target": target,
            "from": [place["source"], place["source_format"]],
            "to": [place["path"], place["format"]],
        }
        with table.store.transaction() as database:
            table.define(database, with_files(table.domain.xml, {target: (Path(place["path"]), place["format"])}))
            number = table.note_within(database, PIVOT, data)
    except BaseException:
        ask(control_of(name), "block-strict", disk=target, strict=False)
        raise
    try:
        ask(control_of(name), "block-abort", disk=target, pivot=True)
    except InnkeeperError as error:
        if not settle(table, number, data):
            raise HostError(f"machine {name} stays on its disks: {error}") from error
        return
    settle(table, number, data)


def check_same(table: SnapshotTable, target: str, source: str) -> None:
    """Raises `HostError` where the machine runs from another image than its definition says."""
    now = written_drives(table.domain.xml).get(target)
    if now is None or str(now.path) != source:
        raise HostError(
            f"disk {target} of machine {table.domain.name} is {now.path if now else 'not there'} in its definition, and {source} "
            "while it runs; shut it off first"
        )


def settle(table: SnapshotTable, number: int, data: dict[str, Any], *, ended: bool = False) -> bool:
    """Whether the machine has moved, as far as that matters: one that has ended starts from where it would have been."""
    target, (path, image_format), (there, _) = data["target"], data["from"], data["to"]
    now = None if ended else disks_unless_ended(table.domain.name)
    moved = now is None or (target in now and now[target]["source"] == there)
    with table.store.transaction() as database:
        if not moved:
            xml = table.store.get(str(table.domain.uuid)).xml
            table.define(database, with_files(xml, {target: (Path(path), image_format)}))
        table.done(database, number)
    if not moved:
        ask(control_of(table.domain.name), "block-strict", disk=target, strict=False)
    return moved


# ---- while it is shut off -----------------------------------------------------------------------------


def commit(  # noqa: PLR0913 - which images of which disk, and how
    table: SnapshotTable,
    drive: Drive,
    chain: list[Path],
    above: int,
    below: int,
    *,
    stays: bool,
    delete: bool,
    name: str | None,
) -> Work[None]:
    """Writes what an image and those between have into the one `below`. Raises `InnkeeperError`; the disk shows what it did."""
    check_no_snapshot(table, drive.target, chain[above : below + 1])
    for path in chain[: below + 1]:
        locks.check_unused(path, f"disk {drive.target}, {path},")
    gone = [str(path) for path in chain[above:below]] if delete and not (stays and above == 0) else []
    for file in gone:
        if storage.snapshots(Path(file)):
            raise ConfigError(f"{file} has snapshots within it, which would go with it; leave out --delete")
    data = {
        "target": drive.target,
        "top": str(chain[above]),
        "base": str(chain[below]),
        "format": storage.probe(chain[below]),
        "overlay": str(chain[above - 1]) if above else None,
        "name": name or str(chain[below].absolute()),
        "stays": stays,
        "gone": gone,
    }
    number = table.note(COMMIT, data)
    yield from finish_committing(table, number, data)


def finish_committing(table: SnapshotTable, number: int, data: dict[str, Any]) -> Work[None]:
    """Can be done again: what is committed stays until the machine is off it."""
    top, base = Path(data["top"]), data["base"]
    yield from in_parts(lambda tell: storage.commit(top, QCOW2, base=base, keep=True, progress=tell))
    if data["overlay"] is not None:
        overlay = Path(data["overlay"])
        storage.rebase(overlay, data["name"], image_format=QCOW2, backing_format=data["format"], unsafe=True)
    with table.store.transaction() as database:
        if data["overlay"] is None and not data["stays"]:
            table.define(database, with_files(table.domain.xml, {data["target"]: (Path(base), data["format"])}))
        table.discard(database, [Path(path) for path in data["gone"]])
        table.done(database, number)


def pull(drive: Drive, chain: list[Path], base: int | None, *, name: str | None) -> Work[None]:
    """Makes what lies below, down to `base` or all, part of a disk's image. Raises `InnkeeperError`; the disk shows what it did."""
    top = chain[0]
    locks.check_unused(top, f"disk {drive.target}, {top},")
    if storage.snapshots(top):
        raise ConfigError(f"{top} has snapshots within it, which need what lies below; delete them first")
    called = None if base is None else name or str(chain[base].absolute())
    kind = None if base is None else storage.probe(chain[base])
    yield from in_parts(
        lambda tell: storage.rebase(top, called, image_format=QCOW2, backing_format=kind, progress=tell)
    )
