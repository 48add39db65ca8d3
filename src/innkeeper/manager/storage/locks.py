"""Who uses an image: the locks that machines hold on theirs, taken and asked for here.

The locks are those of `crates/innkeeper-block/src/medium/lock.rs`: open file description locks on single bytes, byte 100 + n for
"I do n", byte 200 + n for "I cannot bear others to do n".
"""

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from innkeeper.errors import HostError
from innkeeper.folders import runtime_folder
from innkeeper.records import dataclass

DOING, NOT_SHARED, KINDS = 100, 200, 5
CONSISTENT_READ, WRITE, RESIZE = 0, 1, 3
PATIENCE_S, LOOK_S = 2.0, 0.05
FLOCK = "hhqqi4x"  # struct flock
ALONE = ((DOING, NOT_SHARED + KINDS - DOING),)
WRITERS = ((DOING + WRITE, 1), (DOING + RESIZE, 1))
READING = (DOING + CONSISTENT_READ, NOT_SHARED + WRITE, NOT_SHARED + RESIZE)


@dataclass(frozen=True, slots=True)
class User:
    """A process that has an image open."""

    process: int
    command: str
    machine: str | None

    def __str__(self) -> str:
        return f"machine {self.machine}" if self.machine else f"{self.command} (process {self.process})"


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Nobody else uses the image meanwhile. Raises `HostError` with who does; `what` is how the image is called."""
    with locked(path, what, (*range(DOING, DOING + KINDS), *range(NOT_SHARED, NOT_SHARED + KINDS)), ALONE):
        yield


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Nobody writes to the image meanwhile. Raises `HostError` with who does."""
    with locked(path, what, READING, WRITERS):
        yield


@contextmanager
def locked(path: Path, what: str, own: tuple[int, ...], others: tuple[tuple[int, int], ...]) -> Iterator[None]:
    deadline = time.monotonic() + PATIENCE_S
    while (file := claimed(path, own, others)) is None:
        found = users(path)
        if time.monotonic() > deadline or any(user.machine for user in found):
            raise HostError(in_use(found, what))
        time.sleep(LOOK_S)  # a machine that has ended lets go of its disks a moment later
    try:
        yield
    finally:
        os.close(file)


def claimed(path: Path, own: tuple[int, ...], others: tuple[tuple[int, int], ...]) -> int | None:
    """A descriptor that holds the locks; None if others hold theirs. Raises `HostError`."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise HostError(f"cannot open {path}: {error.strerror}") from error
    try:
        for byte in own:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack(FLOCK, fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))
        # After ours are set, so that of two who begin at once at least one sees the other.
        taken = any(held(file, start, length) for start, length in others)
    except OSError as error:
        os.close(file)
        raise HostError(f"cannot lock {path}: {error.strerror}") from error
    if taken:
        os.close(file)
        return None
    return file


def check_unused(path: Path, what: str) -> None:
    """Raises `HostError` with who uses the image, if somebody does at this moment."""
    with alone(path, what):
        pass


def held(file: int, start: int, length: int) -> bool:
    """Whether others have a lock there."""
    answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, length, 0))
    return bool(struct.unpack(FLOCK, answer)[0] != fcntl.F_UNLCK)


def in_use(found: list[User], what: str) -> str:
    who = " and ".join(map(str, found)) or "another program"
    machine = next((user.machine for user in found if user.machine), None)
    step = f"shut it down first, with inn shutdown {machine}" if machine else "end it first"
    return f"{what} is in use: {who} has it open; {step}"


def users(path: Path) -> list[User]:
    """Processes of others that have a file open, as far as this user may know."""
    status = path.stat()
    machines = running_machines()
    identity = (status.st_dev, status.st_ino)
    processes = sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    others = [process for process in processes if process != os.getpid() and has_open(process, identity)]
    return [User(process, command_of(process), machines.get(process)) for process in others]


def has_open(process: int, identity: tuple[int, int]) -> bool:
    with suppress(OSError):  # it may have ended, or be somebody else's
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with suppress(FileNotFoundError):
                status = descriptor.stat()
                if (status.st_dev, status.st_ino) == identity:
                    return True
    return False


def command_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text(errors="replace").strip()
    except OSError:
        return "a process"


def running_machines() -> dict[int, str]:
    """The machines of this user, by the numbers of their processes."""
    found = {}
    for lock in runtime_folder().glob("*/lock"):
        with suppress(OSError, ValueError):
            found[int(lock.read_text())] = lock.parent.name
    return found
