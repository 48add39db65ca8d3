"""The user's cache of guest images: a folder, and ways to put things there that a kill cannot spoil.

Whatever has its final name is whole: it was built under a temporary name and renamed. A lock per
item makes concurrent builders wait for each other, and the next builder sweeps up after a killed one.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from innkeeper.errors import ImageError


def cache_directory() -> Path:
    """`$XDG_CACHE_HOME/innkeeper`, made if missing (XDG Base Directory Specification 0.8)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification demands that a relative path is ignored.
    parent = Path(base) if base.startswith("/") else Path.home() / ".cache"
    directory = parent / "innkeeper"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"cannot make the cache directory {directory}: {error.strerror}") from error
    return directory


def build_directory(final: Path, fill: Callable[[Path], None]) -> Path:
    """Makes the directory `final` by letting `fill` work on a temporary one, unless it is there already."""
    if final.is_dir():
        return final
    with locked(final):
        if not final.is_dir():
            sweep(final)
            unfinished = Path(tempfile.mkdtemp(prefix=unfinished_prefix(final), dir=final.parent))
            try:
                fill(unfinished)
                unfinished.chmod(0o755)
                unfinished.rename(final)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
    return final


def write_file(final: Path, data: bytes) -> Path:
    """Writes `final` so that it is either as it was or whole."""
    try:
        handle, name = tempfile.mkstemp(prefix=unfinished_prefix(final), dir=final.parent)
    except OSError as error:
        raise ImageError(f"cannot write {final}: {error.strerror}") from error
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        unfinished.chmod(0o644)
        unfinished.rename(final)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise ImageError(f"cannot write {final}: {error.strerror}") from error
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return final


@contextmanager
def locked(final: Path) -> Iterator[None]:
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        lock = (final.parent / f".{final.name}.lock").open("w")
    except OSError as error:
        raise ImageError(f"cannot work in {final.parent}: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sweep(final: Path) -> None:
    """Removes what a killed builder of `final` left. Only with the lock held."""
    for leftover in final.parent.glob(unfinished_prefix(final) + "*"):
        shutil.rmtree(leftover, ignore_errors=True)


def unfinished_prefix(final: Path) -> str:
    return f".{final.name}.unfinished-"
