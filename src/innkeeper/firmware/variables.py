"""Where UEFI's variables are kept: a file of the machine's own, made from the firmware's template.

The bytes are written where they belong, as flash is, and reach the disk before the flash shows its contents again: UEFI's own
fault-tolerant writes do the rest, as after a power cut. Without a file they are kept in memory.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from innkeeper.errors import BootError, HostError


class VariableStore:
    """The bytes of the flash, and the file that they are kept in."""

    def __init__(self, content: bytes, file: int | None) -> None:
        self.content = bytearray(content)
        self._file = file
        self._dirty = False

    @classmethod
    def open(cls, path: Path | None, template: bytes | None) -> VariableStore:
        """`template` fills a file that is not there yet, and says how large one must be.

        Raises `InnkeeperError` if it cannot be had, or if another machine has it.
        """
        if path is None:
            return cls(template or b"", None)
        try:
            if template is not None and not path.exists():
                _make(path, template)
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise HostError(f"cannot open UEFI variables {path}: {(error.strerror or str(error)).lower()}") from error
        try:
            return cls(_read(file, path, template), file)
        except BaseException:
            os.close(file)
            raise

    def write(self, offset: int, data: bytes) -> None:
        if self._file is not None:
            os.pwrite(self._file, data, offset)
            self._dirty = True
        self.content[offset : offset + len(data)] = data

    def sync(self) -> None:
        """What was written before this outlives a power cut."""
        if self._file is not None and self._dirty:
            os.fdatasync(self._file)
            self._dirty = False

    def close(self) -> None:
        if self._file is not None:
            self.sync()
            os.close(self._file)
            self._file = None


def _read(file: int, path: Path, template: bytes | None) -> bytes:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise HostError(f"UEFI variables {path} are in use by another machine; give each its own file") from error
    size = os.fstat(file).st_size
    wanted = len(template) if template is not None else size
    if size != wanted or size == 0 or size % 0x1000 or size > 16 << 20:
        raise BootError(f"UEFI variables {path} have {size} bytes; this firmware's have {wanted or 'whole pages'}")
    return os.pread(file, size, 0)


def _make(path: Path, template: bytes) -> None:
    """All of it or nothing, whenever the host stops."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with new.open("xb") as file:
            file.write(template)
            file.flush()
            os.fsync(file.fileno())
        os.link(new, path)  # fails where somebody else made it meanwhile: theirs is taken
    except FileExistsError:
        pass
    finally:
        new.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
