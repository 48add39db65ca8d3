"""Snapshots by overlays: what a disk's file holds is kept, and an overlay takes what is written from then on.

Files are made before the step that puts the machine on them, and removed after the one that takes it off. A snapshot is deleted by
writing what lies directly over its files into them; a cut leaves the overlay as it was, and the writing is done again.
"""

from collections.abc import Container, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from innkeeper import storage
from innkeeper.errors import ConfigError, HostError
from innkeeper.manager.saves import managed_file
from innkeeper.manager.snapshots.drives import Drive, with_files, written_drives
from innkeeper.manager.snapshots.snapshot import EXTERNAL, Part, Snapshot
from innkeeper.manager.snapshots.table import SnapshotTable
from innkeeper.manager.storage import locks
from innkeeper.manager.storage.staging import exists, sync
from innkeeper.manager.storage.work import Work, in_parts
from innkeeper.storage import ImageOptions

FILES, MERGE = "files", "merge"
QCOW2 = "qcow2"


class Merge(NamedTuple):
    """One overlay, `above`, is written into what it lies over, and those that lie over it come to lie there."""

    target: str
    below: str
    format: str
    above: str
    children: list[str]


def take(table: SnapshotTable, snapshot: Snapshot, *, metadata: bool, reuse: bool) -> None:
    """Raises `InnkeeperError`; then the machine is as it was, and no overlay is there."""
    disks = written_drives(snapshot.xml)
    wanted = {target: Path(snapshot.parts[target].file or "") for target in snapshot.targets(EXTERNAL)}
    for target, path in wanted.items():
        check_place(disks[target], path, reuse=reuse)
    made = {} if reuse else wanted
    number = table.note(FILES, {"paths": [str(path) for path in made.values()]})
    try:
        for target, path in made.items():
            lay_over(path, disks[target])
        with table.store.transaction() as database:
            table.define(database, with_files(snapshot.xml, {target: (path, QCOW2) for target, path in wanted.items()}))
            table.own(database, made.values())
            if metadata:
                table.insert(database, snapshot, current=True)
            table.done(database, number)
    except BaseException:
        unmake(made.values())
        table.forget(number)
        raise


def check_place(drive: Drive, path: Path, *, reuse: bool) -> None:
    """Raises `InnkeeperError` unless an overlay can be there, or is."""
    locks.check_unused(drive.file, f"disk {drive.target}, {drive.file},")
    if not reuse:
        if path.exists() or path.is_symlink():
            raise exists(path)
        return
    if not path.exists():
        raise HostError(f"the overlay of disk {drive.target} is {path}, which is not there; leave --reuse-external out")
    if backing_of(path) != drive.file.resolve():
        raise ConfigError(f"the overlay of disk {drive.target} is {path}, which does not lie over {drive.file}")


def lay_over(path: Path, drive: Drive) -> None:
    options = ImageOptions(backing_file=str(drive.file.absolute()), backing_fmt=drive.kind)
    storage.create(path, image_format=QCOW2, options=options)
    path.chmod(0o600)
    sync(path)


def unmake(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def backing_of(path: Path) -> Path | None:
    """What an image lies over."""
    if not path.exists() or storage.probe(path) != QCOW2:
        return None
    found = storage.info(path, QCOW2, share=True)
    name = found.get("full-backing-filename")
    return Path(name).resolve() if name else None


def go_back(table: SnapshotTable, snapshot: Snapshot) -> None:
    """The machine gets new overlays over what was kept; those that it was on are removed, if no snapshot needs them."""
    disks = written_drives(snapshot.xml)
    new = {target: free(disks[target].file, snapshot.name) for target in snapshot.targets(EXTERNAL)}
    number = table.note(FILES, {"paths": [str(path) for path in new.values()]})
    try:
        for target, path in new.items():
            lay_over(path, disks[target])
        left = abandoned(table)
        with table.store.transaction() as database:
            table.define(database, with_files(snapshot.xml, {target: (path, QCOW2) for target, path in new.items()}))
            table.own(database, new.values())
            table.mark(database, snapshot.name)
            table.discard(database, left + replaced(table, snapshot))
            table.done(database, number)
    except BaseException:
        unmake(new.values())
        table.forget(number)
        raise


def replaced(table: SnapshotTable, snapshot: Snapshot) -> list[Path]:
    """What the machine's own memory takes the place of: a managed save."""
    return [managed_file(table.domain.uuid)] if snapshot.memory is not None else []


def free(base: Path, name: str, taken: Container[Path] = ()) -> Path:
    """A name for an overlay: the image's, with the snapshot's for an ending, and a number if that is taken."""
    number, path = 0, base.with_name(f"{base.stem}.{name}")
    while path in taken or path.exists() or path.is_symlink():
        number += 1
        path = base.with_name(f"{base.stem}.{name}-{number}")
    return path


def abandoned(table: SnapshotTable) -> list[Path]:
    """The overlays of ours that the machine is on and that hold no snapshot."""
    kept = {drive.path for each in table.all() for drive in written_drives(each.xml).values()}
    on = [drive.path for drive in written_drives(table.domain.xml).values() if drive.path is not None]
    owned = table.owned()
    return [path for path in on if path in owned and path not in kept]


# ---- deleted ----------------------------------------------------------------------------------------


def remove(table: SnapshotTable, snapshot: Snapshot) -> Work[None]:
    """Raises `InnkeeperError`; then the snapshot is still there."""
    disks = written_drives(snapshot.xml)
    merges = [
        merge for target in snapshot.targets(EXTERNAL) if (merge := planned(table, snapshot, disks[target])) is not None
    ]
    number = table.note(MERGE, {"name": snapshot.name, "merges": merges})
    yield from finish_removing(table, number, snapshot.name, merges)


def planned(table: SnapshotTable, snapshot: Snapshot, base: Drive) -> Merge | None:
    """None if nothing lies over the disk's file. Raises `ConfigError` if it holds something else that would be lost."""
    others = [each for each in table.all() if each.name != snapshot.name]
    used: dict[Path, list[Snapshot]] = {}
    for each in others:
        drive = written_drives(each.xml).get(base.target)
        if drive is not None and drive.path is not None:
            used.setdefault(drive.path, []).append(each)
    now = written_drives(table.domain.xml).get(base.target)
    files = {*used, *([now.path] if now is not None and now.path is not None else [])}
    below = base.file.resolve()
    above = sorted(path for path in files if backing_of(path) == below)
    if not above:
        return None
    if len(above) > 1:
        raise ConfigError(
            f"snapshot {snapshot.name} has {len(above)} branches on disk {base.target}, {', '.join(map(str, above))}; "
            "delete the snapshots of all but one first"
        )
    same = [each.name for each in used.get(base.file, []) if each.parts.get(base.target, Part("")).kind == EXTERNAL]
    inside = [each.name for each in used.get(above[0], []) if each.parts.get(base.target, Part("")).kind != EXTERNAL]
    if same or inside:
        name = (same or inside)[0]
        raise ConfigError(
            f"snapshot {name} needs disk {base.target} as snapshot {snapshot.name} keeps it; delete {name} first"
        )
    for path in (base.file, above[0]):
        locks.check_unused(path, f"disk {base.target}, {path},")
    children = [str(path) for path in sorted(files) if backing_of(path) == above[0].resolve()]
    return Merge(base.target, str(base.file), base.kind, str(above[0]), children)


def finish_removing(table: SnapshotTable, number: int, name: str, merges: Iterable[Merge]) -> Work[None]:
    """Can be done again: an overlay keeps what it has until the machine is off it."""
    merges = list(merges)
    for merge in merges:
        yield from written_down(Path(merge.above))
        for child in merge.children:
            storage.rebase(Path(child), merge.below, image_format=QCOW2, backing_format=merge.format, unsafe=True)
    moved = {(merge.target, Path(merge.above)): (Path(merge.below), merge.format) for merge in merges}
    with table.store.transaction() as database:
        table.define(database, elsewhere(table.domain.xml, moved))
        for each in table.all():
            table.insert(database, replace(each, xml=elsewhere(each.xml, moved)), current=False)
        table.remove(database, table.get(name))
        table.discard(database, useless(table))
        table.done(database, number)


def useless(table: SnapshotTable) -> list[Path]:
    """The overlays of ours that neither the machine nor a snapshot of it is on, nor lies over."""
    domain = table.store.get(str(table.domain.uuid))
    needed: set[Path] = set()
    for xml in (domain.xml, *(each.xml for each in table.all())):
        for drive in written_drives(xml).values():
            path = drive.path.resolve() if drive.path is not None else None
            while path is not None and path not in needed:
                needed.add(path)
                path = backing_of(path)
    return [path for path in table.owned() if path.resolve() not in needed]


def written_down(overlay: Path) -> Work[None]:
    """What an overlay has goes into what it lies over, and stays in it too."""
    yield from in_parts(lambda tell: storage.commit(overlay, QCOW2, keep=True, progress=tell))


def elsewhere(xml: str, moved: dict[tuple[str, Path], tuple[Path, str]]) -> str:
    """A document whose disks were on overlays that are no more."""
    files = {}
    for target, drive in written_drives(xml).items():
        place = moved.get((target, drive.path)) if drive.path is not None else None
        if place is not None:
            files[target] = place
    return with_files(xml, files) if files else xml
