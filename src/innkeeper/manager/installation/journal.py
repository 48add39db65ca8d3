"""What an installation has made so far, written down before it is made: whatever ends it, nothing half-made stays.

Each installation has a folder in `installations/` of the state folder, named after its machine. In it: a lock that the command holds
while it makes things, `made.json` until the machine runs, and for the first start the installer's kernel, its RAM disk, and answers with
passwords. The machine's process removes the folder when the installation has ended; `sweep` undoes what a killed command has left.
"""

import fcntl
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from types import TracebackType
from typing import Self

from innkeeper.errors import ConfigError, HostError
from innkeeper.folders import state_folder
from innkeeper.image.cache import write_file
from innkeeper.machine.names import running
from innkeeper.records import dataclass

LOCK, JOURNAL = "lock", "made.json"
KERNEL, INITRD, ANSWERS, SEED = "kernel", "initrd", "preseed.cfg", "seed.iso"
KNOWN = (KERNEL, INITRD, ANSWERS, SEED, JOURNAL, LOCK)
"""What may be in the folder of an installation."""

Forget = Callable[[str], None]
"""Forgets the definition with a UUID, if there is one."""


def installations() -> Path:
    return state_folder() / "installations"


def folder_of(name: str) -> Path:
    """Where the files of an installation are, as long as it goes on."""
    return installations() / name


@dataclass(slots=True)
class Made:
    """What is to be removed if nothing comes of it."""

    name: str
    files: list[str] = field(default_factory=list)
    uuid: str | None = None  # of a definition

    def undo(self, forget: Forget) -> list[str]:
        """Removes all of it; tells which files."""
        if self.uuid is not None:
            forget(self.uuid)
        removed = []
        for file in self.files:
            with suppress(FileNotFoundError):
                Path(file).unlink()
                removed.append(file)
        return removed


class Journal:
    """One installation, from the first thing that it makes until the machine runs."""

    def __init__(self, name: str) -> None:
        """Raises `ConfigError` if the same machine is being made by somebody else."""
        self.folder = folder_of(name)
        self._made = Made(name)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HostError(f"cannot make {self.folder} for the installation: {error.strerror}") from error
        if not take(self._lock):
            os.close(self._lock)
            raise ConfigError(f"machine {name} is being made by another command; wait for it, or give another name")
        self._empty()

    def will_make(self, file: Path) -> None:
        """A file that is not there yet."""
        self._made.files.append(str(file))
        self._write()

    def will_define(self, uuid: str) -> None:
        self._made.uuid = uuid
        self._write()

    def succeeded(self, *, goes_on: bool) -> None:
        """What was made stays. The folder too, if the first start needs it."""
        (self.folder / JOURNAL).unlink(missing_ok=True)
        if not goes_on:
            self._empty()

    def undo(self, forget: Forget) -> list[str]:
        """Removes what was made; tells which files. Raises `InnkeeperError` if that cannot be: the next command tries again."""
        removed = self._made.undo(forget)
        self._empty()
        return removed

    def close(self) -> None:
        """Lets go of the lock; the folder goes if nothing is in it."""
        if [path.name for path in self._files()] == [LOCK]:
            clear(self.folder)
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _write(self) -> None:
        made = self._made
        words = json.dumps({"name": made.name, "files": made.files, "uuid": made.uuid})
        write_file(self.folder / JOURNAL, words.encode())

    def _empty(self) -> None:
        for path in self._files():
            if path.name != LOCK:
                path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """None once the machine's process has removed the folder: its guest may be quick."""
        return list(self.folder.iterdir()) if self.folder.is_dir() else []


def take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def clear(folder: Path) -> None:
    """Removes the files of an installation that has ended, and what else may be there stays."""
    with suppress(OSError):  # gone, or another's
        for name in KNOWN:
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def sweep(forget: Forget) -> list[str]:
    """Undoes installations whose command was killed, and removes what those that have ended left. Tells which files went."""
    removed: list[str] = []
    folders = sorted(installations().glob("*/")) if installations().is_dir() else []
    for folder in folders:
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            continue  # it has just gone
        try:
            if take(lock) and folder.name not in running():
                removed += left_by(folder, forget)
                clear(folder)
        finally:
            os.close(lock)
    return removed


def left_by(folder: Path, forget: Forget) -> list[str]:
    try:
        words = json.loads((folder / JOURNAL).read_text())
        made = Made(str(words["name"]), [str(file) for file in words["files"]], words["uuid"])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError):
        return []  # written in one step: whatever this is, it is not ours
    return made.undo(forget)
