"""Bytes into volumes' files, and out of them: `vol-upload` and `vol-download`.

Both write a new file beside the one that there is and put it in its place, so that a kill leaves either. What one cannot put a new
file in place of, a pipe for instance, is written to directly.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from innkeeper.errors import ConfigError, HostError
from innkeeper.manager.storage.folder import QCOW2
from innkeeper.manager.storage.making import CHUNK, Copier, stretch
from innkeeper.manager.storage.staging import Staging
from innkeeper.manager.storage.work import Work


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    try:
        file = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostError(f"cannot open {path}: {error.strerror}") from error
    try:
        yield file
    finally:
        os.close(file)


def upload(source: Path, volume: Path, offset: int, length: int | None) -> Work[None]:
    """Raises `InnkeeperError`; then the volume is as it was."""
    with opened(source) as new, opened(volume) as old:
        size = os.fstat(old).st_size
        there = os.fstat(new)
        if not stat.S_ISREG(there.st_mode):
            raise ConfigError(f"{source} is no file; only files can be uploaded")
        amount = there.st_size
        if length is not None and 0 <= length < amount:
            raise ConfigError(f"{source} has {amount} bytes, more than the {length} of --length")
        stretch(size, offset, None, f"volume {volume.name}")
        image = offset == 0 and os.pread(new, len(QCOW2), 0) == QCOW2
        # An image is the whole of its file; a disk's bytes are a part of it.
        end = amount if image else max(size, offset + amount)
        with Staging(volume.parent) as staged, staged.known_as(volume):
            with opened(staged.path, os.O_RDWR | os.O_CREAT | os.O_EXCL) as target:
                os.ftruncate(target, end)
                copier = Copier(end)
                yield from copier.copy(old, target, 0, offset, 0)
                yield from copier.copy(new, target, 0, amount, offset)
                rest = offset + amount
                if rest < min(size, end):
                    yield from copier.copy(old, target, rest, size - rest, rest)
                os.fchmod(target, os.fstat(old).st_mode & 0o777)
            staged.publish(volume, replace=True)


def download(volume: Path, target: Path, offset: int, length: int | None) -> Work[int]:
    """Raises `InnkeeperError`; then the target is as it was."""
    with opened(volume) as source:
        amount = stretch(os.fstat(source).st_size, offset, length, f"volume {volume.name}")
        if target.exists() and not target.is_file():
            yield from poured(source, target, offset, amount)
            return amount
        folder = target.parent
        with Staging(folder) as staged, staged.known_as(target):
            with opened(staged.path, os.O_RDWR | os.O_CREAT | os.O_EXCL) as file:
                os.ftruncate(file, amount)
                yield from Copier(amount).copy(source, file, offset, amount, 0)
                mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~umask()
                os.fchmod(file, mode)
            staged.publish(target.resolve(), replace=True)
    return amount


def poured(source: int, target: Path, offset: int, amount: int) -> Work[None]:
    with opened(target, os.O_WRONLY) as file:
        done = 0
        try:
            while done < amount:
                data = os.pread(source, min(CHUNK, amount - done), offset + done)
                while data:
                    written = os.write(file, data)
                    done, data = done + written, data[written:]
                yield {"done": done, "total": amount}
        except OSError as error:
            raise HostError(f"cannot write to {target}: {error.strerror}") from error


def umask() -> int:
    """Of this process; there is no way to ask that changes nothing but this one (proc(5))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022
