"""Names of running machines: a private folder for each, which holds its control socket as long as it runs.

A lock tells whether a machine still runs, and the kernel lets go of it however a run ends.
"""

import fcntl
import os
import re
import time
from contextlib import suppress
from pathlib import Path

from innkeeper.errors import ConfigError, HostError
from innkeeper.folders import runtime_folder

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
LOCK, CONTROL = "lock", "control"
STILL = "still"  # in the lock of a machine that does not run
LOOK_S, LOOKERS_S = 0.005, 0.1


def check_name(name: str) -> str:
    """Raises `ConfigError` unless it can be a folder's name and a host's.

    >>> check_name("web-1")
    'web-1'
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"name is {name!r}; it must be at most 63 letters, digits, dots, dashes and underscores, "
            "and begin with a letter, digit or underscore"
        )
    return name


class Registration:
    """A name that nobody else has, until `close`."""

    def __init__(self, name: str, *, still: bool = False) -> None:
        """`still`: nothing runs, and nothing can be started as long as this holds. Raises `HostError` if a machine of that name runs."""
        self.name, self._words = check_name(name), f"{os.getpid()} {STILL}" if still else f"{os.getpid()}"
        self.folder = runtime_folder() / self.name
        self._lock = self._take()

    def _take(self) -> int:
        """The lock, with this process's number in it."""
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HostError(f"cannot register the name {self.name}: {error.strerror}") from error
        if not _lock(lock):
            process, _, still = os.pread(lock, 40, 0).decode("ascii", "replace").strip().partition(" ")
            os.close(lock)
            if still == STILL:
                raise HostError(f"the files of machine {self.name} are being changed; try again in a moment")
            process = process or "another process"
            raise HostError(f"a machine named {self.name} runs already, as process {process}; give another --name")
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{self._words}\n".encode(), 0)
        except OSError as error:  # the host is full
            os.close(lock)  # or the name would be taken as long as this process lives
            raise HostError(f"cannot register the name {self.name}: {error.strerror}") from error
        return lock

    def renew(self) -> None:
        """Takes the name again if somebody has removed its folder or its lock. Raises `HostError` if another machine has it."""
        with suppress(OSError):
            there, held = (self.folder / LOCK).stat(), os.fstat(self._lock)
            if (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino):
                return
        runtime_folder()  # is made, and is private
        lost, self._lock = self._lock, self._take()
        os.close(lost)

    @property
    def control(self) -> Path:
        return self.folder / CONTROL

    def close(self) -> None:
        """The file of the lock stays: who waits for a file that is removed waits for nobody."""
        with suppress(FileNotFoundError):
            self.control.unlink()
        os.ftruncate(self._lock, 0)
        os.close(self._lock)


def _lock(descriptor: int) -> bool:
    """For good. Those who only look hold it for a moment, which is waited for."""
    deadline = time.monotonic() + LOOKERS_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_S)
        else:
            return True


def is_held(descriptor: int) -> bool:
    """Whether a machine has a lock. Those who look at the same time see the same."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def running(*, taken: bool = True) -> list[str]:
    """The names of this user's machines that run now; unless `taken` is false also those that cannot, as somebody is at their files."""
    found = []
    for path in sorted(runtime_folder().glob(f"*/{LOCK}")):
        with suppress(FileNotFoundError), path.open() as file:  # somebody cleans up
            if is_held(file.fileno()) and (taken or not file.read(40).strip().endswith(STILL)):
                found.append(path.parent.name)
    return found


def process_of(name: str) -> int | None:
    """The process of a machine that runs, as it has written into its lock; None if it does not run, or has just begun."""
    with suppress(OSError), (runtime_folder() / name / LOCK).open() as file:
        if is_held(file.fileno()):
            words = file.read(20).strip()
            return int(words) if words.isdigit() else None
    return None


def signal_to(name: str, process: int | None, number: int) -> None:
    """To the process that still holds a machine's lock, and to no other that has got its number meanwhile."""
    if process is not None and process == process_of(name):
        with suppress(ProcessLookupError):
            os.kill(process, number)


def control_of(name: str | None) -> Path:
    """The control socket of a machine; without a name, of the only one. Raises `HostError` if there is no such."""
    names = running()
    if name is not None:
        if check_name(name) not in names:
            known = f"; these do: {', '.join(names)}" if names else ""
            raise HostError(f"no machine named {name} runs{known}")
    elif len(names) == 1:
        name = names[0]
    elif names:
        raise HostError(f"several machines run; say which with --name: {', '.join(names)}")
    else:
        raise HostError("no machine runs under a name; start one with inn run --name NAME")
    return runtime_folder() / name / CONTROL
