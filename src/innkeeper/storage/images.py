"""Disk images that no machine runs from: made, looked at, changed. What `inn image` does, for programs.

Formats are `raw` and `qcow2`; where one is not given it is probed, which a guest that can write its raw disk's first
sector can mislead: give it where you know it. Every function raises `ImageError` with one sentence, and a new image
has its name only once it is whole.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper import _core
from innkeeper.errors import ConfigError
from innkeeper.records import dataclass
from innkeeper.storage.core import Progress, explained
from innkeeper.storage.options import PREALLOCATIONS, ImageOptions, as_arguments, one_of

if TYPE_CHECKING:
    from innkeeper._core import ImageCheck, ImageInfo, ImageMapRow, ImageSnapshot

DEFAULT_OPTIONS = ImageOptions()
LARGEST_SPARSE = 16 << 20


def probe(path: Path) -> str:
    """The format that an image seems to have: `qcow2` where its magic number stands, else `raw`."""
    with explained():
        return _core.image_probe(str(path))


def create(
    path: Path,
    size: int | None = None,
    *,
    image_format: str = "raw",
    options: ImageOptions = DEFAULT_OPTIONS,
    open_backing: bool = True,
    progress: Progress | None = None,
) -> int:
    """Makes an image; answers its disk's size, which is the backing image's if none is given."""
    if size is None and (options.backing_file is None or not open_backing):
        raise ConfigError(f"the size of {path} is not given, and there is no backing image to take it from")
    with explained():
        return _core.image_create(str(path), image_format, size, as_arguments(options), open_backing, progress)


def info(path: Path, image_format: str | None = None, *, share: bool = False) -> "ImageInfo":
    """What `inn image info --output json` prints of one image. `share`: although a machine may be running from it."""
    with explained():
        return _core.image_info(str(path), image_format, share)


def backing_chain(path: Path, image_format: str | None = None, *, share: bool = False) -> list["ImageInfo"]:
    """`info` of the image, of the one it is backed by, and so on."""
    with explained():
        return _core.image_chain(str(path), image_format, share)


def check(
    path: Path,
    image_format: str | None = None,
    *,
    repair: str | None = None,
    share: bool = False,
    progress: Progress | None = None,
) -> "ImageCheck":
    """Looks whether an image is consistent. `repair`: `leaks` or `all`."""
    if repair is not None:
        one_of("repair", repair, ("leaks", "all"))
    with explained():
        return _core.image_check(str(path), image_format, repair, share, progress)


@dataclass(frozen=True, slots=True)
class Conversion:
    """How a disk is copied into a new image. With `options.backing_file`, what that has alike is left out.

    `sparse_size`: so many zeroes in a row become a hole; 0 keeps every byte. `snapshot`: name or id of the internal
    one to copy, instead of the disk as it is. `share`: although a machine may be writing to the source.
    """

    image_format: str = "raw"
    source_format: str | None = None
    options: ImageOptions = DEFAULT_OPTIONS
    compress: bool = False
    sparse_size: int = 4096
    snapshot: str | None = None
    threads: int | None = None
    share: bool = False

    def __post_init__(self) -> None:
        size = self.sparse_size
        if self.compress and self.image_format != "qcow2":
            raise ConfigError(f"{self.image_format} images cannot be compressed; convert to qcow2")
        if size and (size % 512 or size > LARGEST_SPARSE):
            raise ConfigError(f"sparse size {size} is neither 0 nor a multiple of 512 up to {LARGEST_SPARSE}")


def convert(source: Path, target: Path, how: Conversion, progress: Progress | None = None) -> None:
    """Copies a disk into a new image."""
    request = {
        "source_format": how.source_format,
        "format": how.image_format,
        "compress": how.compress,
        "sparse_size": how.sparse_size,
        "snapshot": how.snapshot,
        "threads": how.threads,
        "share": how.share,
    }
    with explained():
        _core.image_convert(str(source), str(target), request, as_arguments(how.options), progress)


def resize(
    path: Path,
    size: int,
    image_format: str | None = None,
    *,
    shrink: bool = False,
    preallocation: str = "off",
    progress: Progress | None = None,
) -> None:
    """Gives a disk another size. A smaller one loses what lies beyond it, so that must be asked for."""
    one_of("preallocation", preallocation, PREALLOCATIONS)
    with explained():
        _core.image_resize(str(path), image_format, size, shrink, preallocation, progress)


def snapshots(path: Path, *, share: bool = False) -> list["ImageSnapshot"]:
    """The internal snapshots of a qcow2 image."""
    with explained():
        return _core.image_snapshots(str(path), share)


def create_snapshot(path: Path, name: str) -> None:
    """Keeps the disk as it is now, within the image, under a name."""
    with explained():
        _core.image_snapshot(str(path), "create", name)


def apply_snapshot(path: Path, snapshot: str) -> None:
    """Makes the disk what it was; what it is now is lost."""
    with explained():
        _core.image_snapshot(str(path), "apply", snapshot)


def delete_snapshot(path: Path, snapshot: str) -> None:
    """Forgets a snapshot and gives its space back."""
    with explained():
        _core.image_snapshot(str(path), "delete", snapshot)


def commit(
    path: Path,
    image_format: str | None = None,
    *,
    base: str | None = None,
    keep: bool = False,
    progress: Progress | None = None,
) -> None:
    """Writes what an overlay has into the image it is backed by, or into `base` further down, and empties it.

    `keep`: leave the overlay's contents. They also stay when `base` is not its immediate backing image.
    """
    with explained():
        _core.image_commit(str(path), image_format, base, keep, progress)


def rebase(
    path: Path,
    backing: str | None,
    *,
    image_format: str | None = None,
    backing_format: str | None = None,
    unsafe: bool = False,
    progress: Progress | None = None,
) -> None:
    """Backs an overlay by another image, or by none; its disk stays the same.

    `unsafe`: only the name is written, and the disk is the same only if the new image is.
    """
    if backing is not None and backing_format is None:
        raise ConfigError(f"the format of backing file {backing} is not given; say raw or qcow2")
    with explained():
        _core.image_rebase(str(path), image_format, backing, backing_format, unsafe, progress)


def image_map(
    path: Path,
    image_format: str | None = None,
    *,
    start: int = 0,
    length: int | None = None,
    share: bool = False,
) -> list["ImageMapRow"]:
    """Where each part of a disk is: the rows of `inn image map --output json`."""
    with explained():
        return _core.image_map(str(path), image_format, start, length, share)


def compare(
    first: Path,
    second: Path,
    *,
    formats: tuple[str | None, str | None] = (None, None),
    strict: bool = False,
    share: bool = False,
    progress: Progress | None = None,
) -> str | None:
    """The first difference between two disks in a sentence, or None.

    Disks of different sizes are alike if the longer has only zeroes beyond; `strict` also wants sizes and allocation alike.
    """
    with explained():
        return _core.image_compare(str(first), str(second), *formats, strict, share, progress)
