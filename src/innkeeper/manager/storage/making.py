"""Making volumes' files: empty ones, copies of others, and what comes from elsewhere.

All of it happens in a `Staging`; nothing here touches a file that has a volume's name.
"""

import errno
import fcntl
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from innkeeper.errors import ConfigError, HostError, ImageError
from innkeeper.manager.storage.folder import VolumeInfo, image_format
from innkeeper.manager.storage.volume_xml import NewVolume
from innkeeper.manager.storage.work import Progress, Work, in_parts
from innkeeper.storage import Conversion, ImageOptions, convert, create, info, resize

PIECE = 64 << 20  # bytes of space that are taken at once
CHUNK = 4 << 20  # bytes that are copied at once
FICLONE = 0x40049409


def make_empty(path: Path, wanted: NewVolume) -> Work[None]:
    """Raises `InnkeeperError` or `OSError`."""
    if wanted.format == "raw":
        yield from make_raw(path, wanted)
    else:
        size, options = wanted.size, wanted.options
        yield from in_parts(lambda tell: create(path, size, image_format="qcow2", options=options, progress=tell))
    path.chmod(wanted.mode)


def make_raw(path: Path, wanted: NewVolume) -> Work[None]:
    """With as much of its space as was asked for; all of it if nothing was said, as libvirt does."""
    size = wanted.size or 0
    space = size if wanted.allocation is None else min(wanted.allocation, size)
    free = os.statvfs(path.parent)
    if space > free.f_bavail * free.f_frsize:
        left = free.f_bavail * free.f_frsize
        raise HostError(
            f"volume {wanted.name} takes {space} bytes, and {left} are left in its pool; take less at once, with --allocation"
        )
    with path.open("xb") as file:
        file.truncate(size)
        for start in range(0, space, PIECE):
            os.posix_fallocate(file.fileno(), start, min(PIECE, space - start))
            yield {"done": min(start + PIECE, space), "total": space}


def make_copy(path: Path, source: VolumeInfo, wanted: NewVolume) -> Work[None]:
    """A disk like the source's, standing by itself, and perhaps larger."""
    how = Conversion(image_format=wanted.format, source_format=image_format(source), options=wanted.options)
    yield from in_parts(lambda tell: convert(Path(source["path"]), path, how, tell))
    size = wanted.size
    if size is not None and size > info(path, wanted.format)["virtual-size"]:
        yield from in_parts(lambda tell: resize(path, size, wanted.format, progress=tell))
    path.chmod(wanted.mode)


def make_reflink(path: Path, source: VolumeInfo, mode: int) -> None:
    """Shares the source's blocks until one of both changes. Raises `HostError` where the file system cannot."""
    with Path(source["path"]).open("rb") as old, path.open("xb") as new:
        try:
            fcntl.ioctl(new.fileno(), FICLONE, old.fileno())
        except OSError as error:
            raise HostError(
                f"cannot share the blocks of {source['path']}: {error.strerror}; leave --reflink out to copy them"
            ) from error
    path.chmod(mode)


def like(source: VolumeInfo) -> ImageOptions:
    """The layout of a volume, for a copy of it."""
    layout = layout_of(source)
    if not layout:
        return ImageOptions()
    return ImageOptions(
        compat=layout["compat"],
        cluster_size=int(layout["cluster_size"]),
        refcount_bits=int(layout["refcount_bits"]),
        lazy_refcounts=layout["lazy_refcounts"] == "yes",
        extended_l2=layout["extended_l2"] == "yes",
        compression_type=layout["compression_type"],
    )


def layout_of(volume: VolumeInfo) -> dict[str, str]:
    """How a qcow2 volume is laid out; nothing for others, or where it cannot be read."""
    if volume["format"] != "qcow2" or "error" in volume:
        return {}
    found = info(Path(volume["path"]), "qcow2", share=True)
    data: dict[str, Any] = found.get("format-specific", {}).get("data", {})
    return {
        "compat": str(data.get("compat", "1.1")),
        "cluster_size": str(found.get("cluster-size", 65536)),
        "refcount_bits": str(data.get("refcount-bits", 16)),
        "lazy_refcounts": "yes" if data.get("lazy-refcounts") else "no",
        "extended_l2": "yes" if data.get("extended-l2") else "no",
        "compression_type": str(data.get("compression-type", "zlib")),
    }


class Copier:
    """Copies stretches of files, holes as holes, and tells how far it is."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0

    def copy(self, source: int, target: int, start: int, length: int, to: int) -> Generator[Progress, None, None]:
        """From one descriptor to another; what is a hole there must be one here already."""
        at, end = start, start + length
        while at < end:
            data = next_data(source, at, end)
            self._done += data - at
            at = data
            if at >= end:
                break
            stop = min(os.lseek(source, at, os.SEEK_HOLE), end)
            while at < stop:
                count = moved(source, target, min(CHUNK, stop - at), at, to + at - start)
                if count == 0:
                    raise ImageError("the file became shorter while it was copied")
                at += count
                self._done += count
                yield {"done": self._done, "total": self._total}


def moved(source: int, target: int, length: int, at: int, to: int) -> int:
    """Within the host where it can: that may share blocks."""
    try:
        return os.copy_file_range(source, target, length, at, to)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    data = os.pread(source, length, at)
    written = 0
    while written < len(data):
        written += os.pwrite(target, data[written:], to + written)
    return len(data)


def next_data(file: int, at: int, end: int) -> int:
    try:
        return min(os.lseek(file, at, os.SEEK_DATA), end)
    except OSError:
        return end  # ENXIO: a hole up to the end


def stretch(size: int, offset: int, length: int | None, what: str) -> int:
    """How many bytes are to be copied. Raises `ConfigError` for an offset beyond the end."""
    if offset < 0 or offset > size:
        raise ConfigError(f"the offset is {offset}; {what} has {size} bytes")
    return size - offset if length is None or length < 0 else min(length, size - offset)
