"""A volume that gets its name only when it is whole.

It is made in a hidden folder within the pool's, which its maker locks. Whoever finds such a folder unlocked knows that its maker was
killed, and removes it.
"""

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from innkeeper.errors import ConfigError, HostError, ImageError, InnkeeperError

PREFIX = ".innkeeper-"
LOCK, VOLUME = "lock", "volume"
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # what file systems without links answer


class Staging:
    """Where one volume is made. Leaving the `with` block removes whatever was not published."""

    def __init__(self, folder: Path) -> None:
        """Raises `HostError` if the pool's folder cannot be written to."""
        self._folder = folder
        try:
            while not self._made():
                pass  # somebody tidied up between two steps of ours
        except OSError as error:
            raise HostError(f"cannot write to {folder}: {error.strerror}") from error

    def _made(self) -> bool:
        self._own = self._folder / f"{PREFIX}{secrets.token_hex(8)}"
        self._own.mkdir(mode=0o700)
        try:
            self._lock = os.open(self._own / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return False
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.fstat(self._lock).st_ino == (self._own / LOCK).stat().st_ino:
                return True
        os.close(self._lock)
        return False

    @property
    def path(self) -> Path:
        return self._own / VOLUME

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._own, ignore_errors=True)  # what stays is removed by the next refresh
        os.close(self._lock)

    @contextmanager
    def known_as(self, target: Path) -> Iterator[None]:
        """Errors that name the file here name it as it will be called."""
        try:
            yield
        except ImageError as error:
            raise ImageError(str(error).replace(str(self.path), str(target))) from error
        except OSError as error:
            raise HostError(f"cannot make {target}: {error.strerror}") from error

    def publish(self, target: Path, *, replace: bool = False) -> None:
        """Makes the volume durable and gives it its name. Raises `InnkeeperError`; then the name is as it was."""
        try:
            sync(self.path)
            if replace:
                self.path.rename(target)
            else:
                self._link(target)
            sync(self._folder)
        except FileExistsError as error:
            raise exists(target) from error
        except OSError as error:
            raise HostError(f"cannot make {target}: {error.strerror}") from error

    def _link(self, target: Path) -> None:
        """As opposed to a rename, a link takes no name away from anybody."""
        try:
            os.link(self.path, target)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            if os.path.lexists(target):
                raise exists(target) from error
            self.path.rename(target)


def exists(target: Path) -> InnkeeperError:
    return ConfigError(f"{target} exists already; give the volume another name")


def sync(path: Path) -> None:
    """Makes a file or a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_hidden(name: str) -> bool:
    """Whether a name is one of those that are made here."""
    return name.startswith(PREFIX)


def tidy(folder: Path) -> int:
    """Removes what killed makers left; tells how many there were. Raises `HostError`."""
    count = 0
    try:
        for path in folder.glob(f"{PREFIX}*"):
            if path.is_dir() and not path.is_symlink():
                count += removed(path)
    except OSError as error:
        raise HostError(f"cannot tidy up {folder}: {error.strerror}") from error
    return count


def removed(path: Path) -> bool:
    """Unless its maker lives."""
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        return False  # it has just gone
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
