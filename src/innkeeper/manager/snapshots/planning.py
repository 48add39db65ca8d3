"""From what is asked of a new snapshot to what it will be: each disk's part, names, places of overlays."""

import time
from collections.abc import Iterable
from pathlib import Path

from innkeeper.errors import ConfigError
from innkeeper.manager.snapshots import external
from innkeeper.manager.snapshots.drives import Drive, written_drives
from innkeeper.manager.snapshots.places import memory_file
from innkeeper.manager.snapshots.snapshot import EXTERNAL, INTERNAL, NONE, SHUT_OFF, Part, Request, Snapshot
from innkeeper.manager.snapshots.table import SnapshotTable
from innkeeper.manager.storage.pool import brief


def planned(
    table: SnapshotTable, request: Request, *, disk_only: bool, state: str = SHUT_OFF, memory: Part | None = None
) -> Snapshot:
    """`memory` is of internal ones without a file, which is given here. Raises `ConfigError` for what cannot be. Nothing is touched."""
    domain, created = table.domain, int(time.time())
    taken = [each.name for each in table.all()]
    if request.name in taken:
        raise ConfigError(f"machine {domain.name} has a snapshot {request.name!r} already; give another name")
    name = request.name or next(
        str(number) for number in range(created, created + len(taken) + 1) if str(number) not in taken
    )
    parts = parts_of(domain.name, written_drives(domain.xml), request, disk_only=disk_only, memory=memory)
    if memory is not None and memory.kind == INTERNAL:
        memory = Part(INTERNAL, str(memory_file(domain.uuid, name)))
    return Snapshot(
        name=name,
        description=request.description,
        parent=table.current(),
        created=created,
        state=state,
        parts=placed(parts, written_drives(domain.xml), name),
        memory=memory,
        xml=domain.xml,
    )


def parts_of(
    machine: str, disks: dict[str, Drive], request: Request, *, disk_only: bool, memory: Part | None = None
) -> dict[str, Part]:
    """By target, of all disks that can be written to."""
    wishes = wishes_by_target(machine, disks, request.parts)
    outside = disk_only or any(part.kind == EXTERNAL for part in wishes.values())
    if outside and memory is not None and memory.kind == INTERNAL:
        raise ConfigError(
            f"machine {machine} runs, and where its disks get overlays its memory goes into a file: name it with --memspec FILE, "
            "or leave memory out with --disk-only"
        )
    parts = {}
    for target in disks:
        wish = wishes.get(target, Part(""))
        kind = wish.kind or (EXTERNAL if outside else INTERNAL)
        if outside and kind == INTERNAL:
            raise ConfigError(
                f"disk {target} cannot be internal where overlays are made; make all disks alike, or leave it out"
            )
        if memory is not None and kind == NONE:
            raise ConfigError(
                f"disk {target} is left out, and memory goes on only with all disks as they were; take it in, or leave memory out"
            )
        parts[target] = Part(kind, wish.file)
    if memory is None and all(part.kind == NONE for part in parts.values()):
        raise ConfigError(f"machine {machine} has no disk that a snapshot could be of")
    return parts


def wishes_by_target(machine: str, disks: dict[str, Drive], wishes: dict[str, Part]) -> dict[str, Part]:
    """Disks may be named by the files that they are in."""
    sources = {str(drive.path): target for target, drive in disks.items()}
    found = {}
    for name, part in wishes.items():
        target = sources.get(name, name)
        if target in disks:
            found[target] = part
        elif part.kind != NONE:
            known = ", ".join(disks) or "none"
            raise ConfigError(f"machine {machine} has no disk {brief(name)} that can be written to; those are {known}")
    return found


def placed(parts: dict[str, Part], disks: dict[str, Drive], name: str) -> dict[str, Part]:
    """With a file for each overlay."""
    found, taken = {}, {Path(part.file) for part in parts.values() if part.file is not None}
    for target, part in parts.items():
        drive = disks[target]
        if part.kind == EXTERNAL and part.file is None:
            if not drive.is_file:
                raise ConfigError(
                    f"disk {target} is a device; say where its overlay is to be, with --diskspec {target},file=FILE"
                )
            path = external.free(drive.file, name, taken)
            taken.add(path)
            part = Part(EXTERNAL, str(path))  # noqa: PLW2901
        found[target] = part
    check_apart(Path(part.file) for part in found.values() if part.file is not None)
    return found


def check_apart(files: Iterable[Path]) -> None:
    seen: set[Path] = set()
    for file in files:
        if file in seen:
            raise ConfigError(f"two disks have the overlay {file}; give each a file of its own")
        seen.add(file)
