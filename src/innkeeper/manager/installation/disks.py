"""The disks of a machine that is being made: found, placed, checked and created, by the manager that will run the machine.

A new one is made without a name and gets it when it is whole, from nobody: whatever has appeared there meanwhile stays, and no symbolic
link is followed. What was written down of it is its identity, so that undoing removes that file and no other.
"""

import shutil
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from innkeeper.config import DiskConfig, DiskDevice, DiskFormat, MachineConfig
from innkeeper.errors import ConfigError, InnkeeperError
from innkeeper.machine.disks import create_if_missing
from innkeeper.manager.installation.journal import Journal, identity_of
from innkeeper.manager.installation.order import Wanted
from innkeeper.manager.storage.resolve import resolve_volume
from innkeeper.manager.storage.staging import Staging
from innkeeper.manager.storage.work import Progress, in_parts

GIB = 1 << 30


def placed(machine: str, wanted: Sequence[Wanted]) -> list[DiskConfig]:
    """With the paths that they have or shall have. Raises `InnkeeperError` for a disk that neither exists nor can be made."""
    disks: list[DiskConfig] = []
    for each in wanted:
        disk = each.disk
        if each.pool is not None or each.vol is not None:
            disk = in_pool(each, machine, disks)
        check(disk)
        if disk.path is not None and disk.path in (other.path for other in disks):
            raise ConfigError(f"{disk.path} is given for two disks; each needs a file of its own")
        disks.append(disk)
    return disks


def in_pool(wanted: Wanted, machine: str, others: Sequence[DiskConfig]) -> DiskConfig:
    """A pool's volume that exists, or with a pool alone one that is to be made beside the `others` of the machine."""
    if wanted.pool is not None and wanted.vol is not None:
        raise ConfigError("--disk has both pool and vol; vol=POOL/VOLUME says both")
    disk = wanted.disk
    found = resolve_volume(
        vol=wanted.vol,
        pool=wanted.pool,
        machine=machine,
        image_format=disk.format or DiskFormat.QCOW2,
        besides=[str(other.path) for other in others],
    )
    kind = disk.format or (DiskFormat(found["format"]) if found["format"] in list(DiskFormat) else None)
    return replace(disk, path=Path(found["path"]), format=kind)


def check(disk: DiskConfig) -> None:
    for path in (disk.path, disk.backing_store):
        if path is not None and not path.is_absolute():
            raise ConfigError(f"disk {path} is in no folder that the manager knows; give its whole path, from / on")
    path = disk.path
    if path is None or path.exists():
        if path is not None and path.is_dir():
            raise ConfigError(f"disk {path} is a folder; give a file")
        return
    if path.is_symlink():
        raise ConfigError(f"disk {path} is a symbolic link to {path.readlink()}, where there is nothing; give that")
    if disk.device is DiskDevice.CDROM:
        raise ConfigError(f"there is no file {path} for the CD-ROM drive")
    if disk.size_gib is None:
        raise ConfigError(f"there is no file {path}; give it a size, as in size=10, to have it made")
    if not path.parent.is_dir():
        raise ConfigError(f"disk {path} cannot be made: there is no folder {path.parent}")


def missing(disks: Sequence[DiskConfig]) -> list[DiskConfig]:
    """Those that are to be made, which are qcow2 unless told otherwise."""
    found = [disk for disk in disks if disk.path is not None and not disk.path.exists()]
    return [replace(disk, format=disk.format or DiskFormat.QCOW2) for disk in found]


def once_made(disks: Sequence[DiskConfig]) -> list[DiskConfig]:
    """As they are then."""
    formats = {disk.path: disk.format for disk in missing(disks)}
    made = {"size_gib": None, "sparse": True, "backing_store": None, "backing_format": None}
    return [replace(disk, **made, format=formats.get(disk.path, disk.format)) for disk in disks]  # type: ignore[arg-type]


def create(disk: DiskConfig, journal: Journal) -> Generator[Progress, None, None]:
    """Raises `InnkeeperError`; then it is not there, or it is somebody else's."""
    check(disk)
    target = disk.path
    if target is None or target.exists() or disk.size_gib is None:
        raise ConfigError(f"disk {target} cannot be made: it is there by now; run the command again, or give another")
    journal.will_stage(target.parent)
    with Staging(target.parent) as staged:
        try:
            new = replace(disk, path=staged.path)
            yield from in_parts(lambda tell: create_if_missing(new, tell))
            journal.will_make(target, identity_of(staged.path))
            staged.publish(target)
        except InnkeeperError as error:
            raise type(error)(str(error).replace(str(staged.path), str(target))) from error


def check_space(disks: Sequence[DiskConfig]) -> None:
    """Raises `ConfigError` if a disk that is to have all of its space at once cannot."""
    for disk in disks:
        size = int((disk.size_gib or 0) * GIB)
        if disk.sparse or disk.path is None or not disk.path.parent.is_dir():
            continue
        free = shutil.disk_usage(disk.path.parent).free
        if size > free:
            raise ConfigError(
                f"disk {disk.path} shall have {size} bytes at once, and there are {free}; give it less, or sparse=yes "
                "(--check disk_size=off tries anyway)"
            )


def check_unused(disks: Sequence[DiskConfig], others: Mapping[str, MachineConfig]) -> None:
    """Raises `ConfigError` if a disk is another machine's already."""
    wanted = {disk.path for disk in disks if disk.path is not None and not disk.readonly}
    for name, machine in others.items():
        for disk in machine.disks:
            if disk.path in wanted and not disk.readonly:
                raise ConfigError(
                    f"disk {disk.path} is that of machine {name}; give another (--check path_in_use=off takes it anyway)"
                )
