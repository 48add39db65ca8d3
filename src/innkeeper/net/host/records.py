"""What this host has of networks: a record for each, from before anything is made until after all is gone.

They are root's to write and everybody's to read. The folder is of /run, so that a host that starts anew has none.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from innkeeper.errors import HostError

FOLDER = Path("/run/innkeeper-networks")
SUFFIX, UNPLUGGED = ".json", ".unplugged"
LOCK = "lock"
VERSION = 1


class State(StrEnum):
    """How far a network is. Whoever is killed leaves it on its way, and whoever comes next goes on from there."""

    STARTING = "starting"
    ACTIVE = "active"
    ENDING = "ending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A network of this host's."""

    name: str
    uuid: str
    mode: str
    bridge: str
    mac: str  # of the bridge: the mark by which it is known as ours
    state: State
    document: str  # what it was started from
    versions: tuple[int, ...] = ()  # of IP that it has forwarded


def folder() -> Path:
    return FOLDER


def files_of(name: str) -> Path:
    """Where its servers' files are."""
    return folder() / name


def make_folder() -> None:
    """Raises `HostError`."""
    try:
        folder().mkdir(mode=0o755, parents=True, exist_ok=True)
        folder().chmod(0o755)
    except OSError as error:
        raise HostError(f"cannot make {folder()} for networks' records: {error.strerror}") from error


@contextmanager
def locked() -> Iterator[None]:
    """One change of this host's networks at a time. The lock goes with the process. Raises `HostError`."""
    make_folder()
    try:
        descriptor = os.open(folder() / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostError(f"cannot lock {folder()}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write(record: Record, where: Path | None = None) -> None:
    """All or nothing. Raises `HostError`."""
    write_file((where or folder()) / f"{record.name}{SUFFIX}", json.dumps({"version": VERSION, **asdict(record)}))


def write_file(path: Path, text: str) -> None:
    """All or nothing. Raises `HostError`."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_text(text)
        new.chmod(0o644)
        new.rename(path)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}") from error


def read(name: str, where: Path | None = None) -> Record | None:
    """None if there is none. Raises `HostError`."""
    path = (where or folder()) / f"{name}{SUFFIX}"
    try:
        found = json.loads(path.read_text())
        if found.pop("version") != VERSION:
            raise HostError(f"{path} was written by another version of Innkeeper; use that one to end the network")
        found["versions"] = tuple(found["versions"])
        return Record(**{**found, "state": State(found["state"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise HostError(
            f"{path} is no record of a network: {error}; remove it if no network {name} is there"
        ) from error


def every(where: Path | None = None) -> list[Record]:
    """In the order of their names. Raises `HostError`."""
    names = sorted(path.name.removesuffix(SUFFIX) for path in (where or folder()).glob(f"[!.]*{SUFFIX}"))
    return [record for name in names if (record := read(name, where)) is not None]


def write_unplugged(name: str, links: Iterable[tuple[int, str]]) -> None:
    """Machines' interfaces that lost a network's bridge, for when it comes back: their numbers and names."""
    write_file(folder() / f"{name}{UNPLUGGED}", json.dumps(list(links)))


def unplugged(name: str) -> list[tuple[int, str]]:
    path = folder() / f"{name}{UNPLUGGED}"
    return [(int(index), str(link)) for index, link in json.loads(path.read_text())] if path.exists() else []


def forget_unplugged(name: str) -> None:
    (folder() / f"{name}{UNPLUGGED}").unlink(missing_ok=True)


def remove(name: str, where: Path | None = None) -> None:
    ((where or folder()) / f"{name}{SUFFIX}").unlink(missing_ok=True)
