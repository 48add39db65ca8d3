"""What a pool's folder holds: its volumes, found by looking at them each time.

A volume is a file, or a symbolic link to one, whose name can be shown and written. Formats are looked at, never believed to be what a
name says: `qcow2`, `iso` (ECMA-119), those that `inn image` names but cannot read, else `raw`.
"""

import errno
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NotRequired, TypedDict

from innkeeper import storage
from innkeeper.errors import ConfigError, HostError, ImageError
from innkeeper.manager.storage import staging
from innkeeper.manager.storage.pool import check_volume_name

ISO_PLACE, ISO_MARK = 0x8001, b"CD001"
QCOW2 = b"QFI\xfb"
FOREIGN = {
    b"QED\0": "qed",
    b"KDMV": "vmdk",
    b"COWD": "vmdk",
    b"vhdxfile": "vhdx",
    b"conectix": "vpc",
    b"LUKS\xba\xbe": "luks",
}
BLOCK = 512  # bytes that st_blocks counts in

logger = logging.getLogger(__name__)


class Backing(TypedDict):
    """What an overlay is laid over."""

    path: str
    format: str | None


class VolumeInfo(TypedDict):
    """A volume, as it is now. Sizes are bytes: of its disk, of the space that it takes, of its file."""

    name: str
    key: str
    path: str
    pool: str
    type: str
    format: str
    capacity: int
    allocation: int
    physical: int
    backing: Backing | None
    error: NotRequired[str]
    """Why its format cannot be read, where it cannot."""


def names(folder: Path) -> Iterator[str]:
    """Of the volumes, in order. Raises `HostError` if the folder cannot be looked at."""
    try:
        found = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise HostError(f"cannot look at {folder}: {error.strerror}") from error
    for name in found:
        if staging.is_hidden(name):
            continue
        try:
            regular = stat.S_ISREG((folder / name).stat().st_mode)
        except OSError:
            continue  # it has just gone, or is a link to nowhere
        if regular and not name.isprintable():
            logger.warning("%s has a file whose name cannot be shown, %a; it is no volume", folder, name)
        elif regular:
            yield name


def place(folder: Path, name: str) -> Path:
    """Where a volume of that name is. Raises `ConfigError` for a name that leads elsewhere."""
    check_volume_name(name)
    if staging.is_hidden(name):
        raise ConfigError(
            f"a volume's name is {name!r}; names that begin with {staging.PREFIX} are for unfinished ones"
        )
    return folder / name


def look(path: Path, pool: str) -> VolumeInfo:
    """Raises `ConfigError` if there is no such volume."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path} is no file; a volume of pool {pool} is one")
        start, mark = beginning(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
            raise ConfigError(
                f"there is no volume {short(path.name)} in pool {pool}; inn vol-list {pool} shows all"
            ) from error
        raise HostError(f"cannot look at {path}: {error.strerror}") from error
    info: VolumeInfo = {
        "name": path.name,
        "key": str(path),
        "path": str(path),
        "pool": pool,
        "type": "file",
        "format": kind_of(start, mark),
        "capacity": status.st_size,
        "allocation": status.st_blocks * BLOCK,
        "physical": status.st_size,
        "backing": None,
    }
    if info["format"] == "qcow2":
        read_header(path, info)
    return info


def short(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:57] + "...")


def beginning(path: Path) -> tuple[bytes, bytes]:
    """The first bytes, and those that a disc is known by."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.pread(file, BLOCK, 0), os.pread(file, len(ISO_MARK), ISO_PLACE)
    finally:
        os.close(file)


def kind_of(start: bytes, mark: bytes) -> str:
    """By what a file begins with, and by the mark of a disc.

    >>> kind_of(b"", b"CD001")
    'iso'
    """
    if start.startswith(QCOW2):
        return "qcow2"
    foreign = next((name for magic, name in FOREIGN.items() if start.startswith(magic)), None)
    return foreign or ("iso" if mark == ISO_MARK else "raw")


def read_header(path: Path, info: VolumeInfo) -> None:
    """What a qcow2 image says of itself; an image that cannot be read is shown as what it is, a file."""
    try:
        found = storage.info(path, "qcow2", share=True)
    except ImageError as error:
        info["error"] = str(error)
        return
    info["capacity"] = found["virtual-size"]
    if "backing-filename" in found:
        full = found.get("full-backing-filename", found["backing-filename"])
        info["backing"] = {"path": full, "format": found.get("backing-filename-format")}


def image_format(info: VolumeInfo) -> str:
    """As the image tools call it. Raises `ImageError` for one that they cannot read."""
    if "error" in info:
        raise ImageError(info["error"])
    if info["format"] in ("raw", "iso"):
        return "raw"
    if info["format"] != "qcow2":
        raise ImageError(f"volume {info['name']} is a {info['format']} image; images here are raw and qcow2")
    return "qcow2"


def own_file(info: VolumeInfo) -> Path:
    """The file of a volume that is to be changed. Raises `ConfigError` if it is a link: what it leads to may be anything."""
    path = Path(info["path"])
    if path.is_symlink():
        raise ConfigError(f"volume {info['name']} is a symbolic link to {path.readlink()}; change that one itself")
    return path


def space(folder: Path) -> dict[str, int]:
    """Of the file system that the folder is in. Raises `HostError`."""
    try:
        found = os.statvfs(folder)
    except OSError as error:
        raise HostError(f"cannot look at {folder}: {error.strerror}") from error
    capacity, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return {"capacity": capacity, "allocation": capacity - found.f_bfree * found.f_frsize, "available": free}
