"""The disks of a machine that is being made: found, placed, checked and created."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from innkeeper.config import DiskConfig, DiskDevice, DiskFormat, MachineConfig
from innkeeper.errors import ConfigError
from innkeeper.machine.disks import create_if_missing

Progress = Callable[[str, float], None]
GIB = 1 << 30


class Disks:
    """Knows which files are to be made, and makes them one by one."""

    def __init__(self, wanted: list[DiskConfig]) -> None:
        """Raises `ConfigError` for a disk that neither exists nor has a size."""
        self._wanted = [absolute(disk) for disk in wanted]
        for disk in self._wanted:
            check(disk)
        paths = [disk.path for disk in self._wanted if disk.path is not None]
        if twice := [path for path in paths if paths.count(path) > 1]:
            raise ConfigError(f"{twice[0]} is given for two disks; each needs a file of its own")

    def resolved(self) -> list[DiskConfig]:
        """As they are once they exist."""
        made = {"size_gib": None, "sparse": True, "backing_store": None, "backing_format": None}
        return [replace(disk, **made, format=format_of(disk)) for disk in self._wanted]  # type: ignore[arg-type]

    def missing(self) -> Iterator[DiskConfig]:
        return (disk for disk in self._wanted if disk.path is not None and not disk.path.exists())

    def create(self, disk: DiskConfig, progress: Progress) -> None:
        """Raises `InnkeeperError`; the file is not there then."""

        def told(done: int, whole: int) -> None:
            progress("", done / whole if whole else 1.0)

        create_if_missing(replace(disk, format=format_of(disk)), told)

    def check_space(self) -> None:
        """Raises `ConfigError` if a disk that is to have all of its space at once cannot."""
        for disk in self.missing():
            assert disk.path is not None  # noqa: S101 - of those that are missing
            size = int((disk.size_gib or 0) * GIB)
            free = shutil.disk_usage(disk.path.parent).free
            if not disk.sparse and size > free:
                raise ConfigError(
                    f"disk {disk.path} shall have {size} bytes at once, and there are {free}; give it less, or sparse=yes "
                    "(--check disk_size=off tries anyway)"
                )

    def check_unused(self, others: Mapping[str, MachineConfig]) -> None:
        """Raises `ConfigError` if a disk is another machine's already."""
        wanted = {disk.path for disk in self._wanted if disk.path is not None and not disk.readonly}
        for name, machine in others.items():
            for disk in machine.disks:
                if disk.path in wanted and not disk.readonly:
                    raise ConfigError(
                        f"disk {disk.path} is that of machine {name}; give another (--check path_in_use=off takes it anyway)"
                    )


def check(disk: DiskConfig) -> None:
    path = disk.path
    if path is None or path.exists():
        if path is not None and path.is_dir():
            raise ConfigError(f"disk {path} is a folder; give a file")
        return
    if disk.device is DiskDevice.CDROM:
        raise ConfigError(f"there is no file {path} for the CD-ROM drive")
    if disk.size_gib is None:
        raise ConfigError(f"there is no file {path}; give it a size, as in size=10, to have it made")
    if not path.parent.is_dir():
        raise ConfigError(f"disk {path} cannot be made: there is no folder {path.parent}")


def absolute(disk: DiskConfig) -> DiskConfig:
    """The machine's process works elsewhere."""
    return disk if disk.path is None else replace(disk, path=disk.path.absolute())


def format_of(disk: DiskConfig) -> DiskFormat | None:
    """A file that is to be made is qcow2 unless told otherwise."""
    if disk.format is None and disk.size_gib is not None and disk.path is not None and not disk.path.exists():
        return DiskFormat.QCOW2
    return disk.format
