"""What an installation has made so far, written down before it is made: whatever ends it, nothing half-made stays.

Each installation has a folder in `installations/` of the state folder of the manager that runs its machine, named after the machine. In it:
a lock that the manager holds while it makes things and while somebody waits for the end, the journal, and for the first start the
installer's kernel, its RAM disk, and answers with passwords. What is to become of it, the journal's name says, which changes once: the
machine's process renames `made.json` to `started.json` before anybody is told that it runs, or whoever undoes it to `undone.json`. The
process removes the folder when the installation has ended; `sweep` undoes what a killed manager has left that had not got so far.
"""

import fcntl
import json
import logging
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from innkeeper.errors import ConfigError, HostError
from innkeeper.folders import state_folder
from innkeeper.machine.names import running
from innkeeper.manager.storage.staging import tidy
from innkeeper.records import dataclass

LOCK, JOURNAL, UNWRITTEN = "lock", "made.json", "made.json.new"
STARTED, UNDONE = "started.json", "undone.json"
KERNEL, INITRD, ANSWERS, SEED = "kernel", "initrd", "preseed.cfg", "seed.iso"
KNOWN = (KERNEL, INITRD, ANSWERS, SEED, JOURNAL, UNWRITTEN, STARTED, UNDONE, LOCK)
"""What may be in the folder of an installation."""

logger = logging.getLogger(__name__)

Forget = Callable[[str], None]
"""Forgets the definition with a UUID, if there is one."""


def installations() -> Path:
    return state_folder() / "installations"


def folder_of(name: str) -> Path:
    """Where the files of an installation are, as long as it goes on."""
    return installations() / name


@dataclass(slots=True)
class Made:
    """What is to be removed if nothing comes of it. `token` tells one installation of a machine from another."""

    name: str
    token: str
    files: dict[str, list[int] | None] = field(default_factory=dict)
    """By their paths, with device and inode where those are known before the file has its name."""
    folders: list[str] = field(default_factory=list)
    """In which files are made that have no name yet."""
    uuid: str | None = None  # of a definition

    @classmethod
    def read(cls, folder: Path) -> "Made | None":
        """None where nothing was made; also for what nobody of ours has written, as it is written in one step."""
        file = next(
            (folder / name for name in (JOURNAL, UNDONE, STARTED) if (folder / name).exists()), folder / JOURNAL
        )
        try:
            words = json.loads(file.read_text())
            files = {
                str(path): None if identity is None else [int(number) for number in identity]
                for path, identity in words["files"].items()
            }
            folders = [str(folder) for folder in words["folders"]]
            return cls(str(words["name"]), str(words["token"]), files, folders, words["uuid"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def words(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def undo(self, forget: Forget) -> list[str]:
        """Removes all of it; tells which files. A file that somebody else has put in a place stays. Raises `HostError`."""
        if self.uuid is not None:
            forget(self.uuid)
        for folder in self.folders:
            tidy(Path(folder))
        removed = []
        for file, identity in self.files.items():
            try:
                if identity is None or identity == identity_of(Path(file)):
                    Path(file).unlink()
                    removed.append(file)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise HostError(f"cannot remove {file}, which an installation had made: {error.strerror}") from error
        return removed


def identity_of(path: Path) -> list[int]:
    """Of the file itself, not of what a symbolic link leads to. Raises `OSError`."""
    status = path.lstat()
    return [status.st_dev, status.st_ino]


class Journal:
    """One installation, from the first thing that it makes until nobody is interested any more."""

    def __init__(self, name: str, *, resumes: bool = False) -> None:
        """A new one, or with `resumes` the one that there is. Raises `ConfigError` if somebody else has it."""
        self.folder = folder_of(name)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HostError(f"cannot make {self.folder} for the installation: {error.strerror}") from error
        if not take(self._lock):
            os.close(self._lock)
            raise ConfigError(f"machine {name} is being made by another command; wait for it, or give another name")
        found = Made.read(self.folder) if resumes else None
        self._made = found or Made(name, secrets.token_hex(8))
        if not resumes:
            self._begin()

    def _begin(self) -> None:
        """With nothing of one before."""
        try:
            self._empty()
            self._write()
        except BaseException:
            self._empty()
            self.close()
            raise

    @property
    def token(self) -> str:
        return self._made.token

    def will_stage(self, folder: Path) -> None:
        """Where a file is made before it gets its name."""
        if str(folder) not in self._made.folders:
            self._made.folders.append(str(folder))
            self._write()

    def will_make(self, file: Path, identity: list[int] | None = None) -> None:
        """A file that is not there yet. With its identity, that file is removed and no other that has its name."""
        self._made.files[str(file)] = identity
        self._write()

    def will_define(self, uuid: str) -> None:
        self._made.uuid = uuid
        self._write()

    def has_not_defined(self) -> None:
        self._made.uuid = None
        self._write()

    def succeeded(self, *, goes_on: bool) -> None:
        """What was made stays, unless somebody gives up what goes on. The folder goes if the first start does not need it."""
        if not goes_on:
            self._empty()

    def claim(self) -> bool:
        """See `claimed`."""
        return claimed(self.folder)

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
        """In one step."""
        new = self.folder / UNWRITTEN
        try:
            new.write_text(json.dumps(self._made.words()))
            new.rename(self.folder / JOURNAL)
        except OSError as error:
            raise HostError(f"cannot write {self.folder / JOURNAL}: {error.strerror}") from error

    def _empty(self) -> None:
        for path in self._files():
            if path.name != LOCK:
                path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """None once the machine's process has removed the folder: its guest may be quick."""
        return list(self.folder.iterdir()) if self.folder.is_dir() else []


def claimed(folder: Path) -> bool:
    """Has the machine's process never begin to run it, if it has not yet; tells whether it has not."""
    with suppress(FileNotFoundError):
        (folder / JOURNAL).rename(folder / UNDONE)
    return not (folder / STARTED).exists()


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
    """Undoes installations whose manager was killed, and removes what those that have ended left. Tells which files went."""
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
        except HostError as error:
            logger.warning("%s", error)  # the next sweep tries again; no verb is to fail for it
        finally:
            os.close(lock)
    return removed


def left_by(folder: Path, forget: Forget) -> list[str]:
    """What became of a machine that has run is not known, so all of it stays."""
    made = Made.read(folder) if claimed(folder) else None
    return made.undo(forget) if made is not None else []
