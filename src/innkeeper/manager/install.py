"""The disks of a machine that is being made: found or created, and removed again if nothing comes of it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from innkeeper.config import DiskConfig, DiskFormat
from innkeeper.errors import ConfigError
from innkeeper.machine.disks import create_if_missing

Progress = Callable[[str, float], None]


class Disks:
    """Remembers which files it made: only those are ever removed."""

    def __init__(self, wanted: list[DiskConfig]) -> None:
        """Raises `ConfigError` for a disk that neither exists nor has a size."""
        self._wanted = [absolute(disk) for disk in wanted]
        self._created: list[Path] = []
        for disk in self._wanted:
            if disk.path is not None and not disk.path.exists() and disk.size_gib is None:
                raise ConfigError(f"there is no file {disk.path}; give it a size, as in size=10, to have it made")

    def resolved(self) -> list[DiskConfig]:
        """As they are once they exist."""
        return [replace(disk, size_gib=None, format=format_of(disk)) for disk in self._wanted]

    def missing(self) -> Iterator[DiskConfig]:
        return (disk for disk in self._wanted if disk.path is not None and not disk.path.exists())

    def create(self, disk: DiskConfig, progress: Progress) -> None:
        """Raises `InnkeeperError`; the file is not there then."""
        assert disk.path is not None  # noqa: S101 - of those that are missing

        def told(done: int, whole: int) -> None:
            progress("", done / whole if whole else 1.0)

        if create_if_missing(replace(disk, format=format_of(disk)), told):
            self._created.append(disk.path)

    def remove_created(self) -> list[Path]:
        for path in self._created:
            path.unlink(missing_ok=True)
        return self._created


def absolute(disk: DiskConfig) -> DiskConfig:
    """The machine's process works elsewhere."""
    return disk if disk.path is None else replace(disk, path=disk.path.absolute())


def format_of(disk: DiskConfig) -> DiskFormat | None:
    """A file that is to be made is qcow2 unless told otherwise."""
    if disk.format is None and disk.size_gib is not None and disk.path is not None and not disk.path.exists():
        return DiskFormat.QCOW2
    return disk.format
