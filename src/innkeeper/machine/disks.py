"""Configuration → open disk images: made if they shall be, and closed when the machine is."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from innkeeper.config import DiskConfig
from innkeeper.config.disk import DiskFormat
from innkeeper.errors import ConfigError, HostError, ImageError

if TYPE_CHECKING:
    from innkeeper._core import Disk
    from innkeeper.storage import Progress

logger = logging.getLogger(__name__)

GIB = 1 << 30
SECTOR = 512
PIECE = 64 << 20  # bytes of space that are taken at once


def open_disk(config: DiskConfig, held: ExitStack) -> Disk:
    """Opens the image, which is closed with `held`. Raises `InnkeeperError` if it cannot be had as it shall be."""
    from innkeeper import _core

    assert config.path is not None  # noqa: S101 - a drive without a disc has nothing to open
    created = create_if_missing(config)
    made = DiskFormat.QCOW2 if config.backing_store is not None else DiskFormat.RAW
    image_format = config.format or (made if created else None)
    try:
        disk = _core.Disk(
            config.path,
            format=image_format,
            read_only=config.readonly,
            cache=config.cache,
            discard=config.discard,
            detect_zeroes=config.detect_zeroes,
        )
    except OSError as error:
        raise HostError(error.strerror or str(error)) from error  # which names the file
    except ValueError as error:
        raise ImageError(str(error)) from error
    for warning in disk.warnings:
        logger.warning("%s", warning)
    held.callback(disk.close)
    return disk


def create_if_missing(config: DiskConfig, progress: Progress | None = None) -> bool:
    """Makes the file if there is none and a size was given; tells whether it did."""
    assert config.path is not None  # noqa: S101 - as above
    if config.size_gib is None or config.path.exists():
        return False
    size = int(config.size_gib * GIB) // SECTOR * SECTOR
    if size == 0:
        raise ConfigError(f"disk {config.path} has size={config.size_gib:g}; it must have at least one sector")
    if config.format is DiskFormat.QCOW2 or config.backing_store is not None:
        make_qcow2(config, size, progress)
        return True
    make_raw(config, size, progress)
    return True


def make_raw(config: DiskConfig, size: int, progress: Progress | None) -> None:
    assert config.path is not None  # noqa: S101 - as above
    try:
        file = config.path.open("xb")  # whatever has that name by now is somebody else's, and stays
    except OSError as error:
        raise HostError(f"cannot make disk {config.path} of {size} bytes: {error.strerror}") from error
    try:
        with file:
            file.truncate(size)
            for start in range(0, 0 if config.sparse else size, PIECE):
                os.posix_fallocate(file.fileno(), start, min(PIECE, size - start))
                if progress is not None:
                    progress(min(start + PIECE, size), size)
    except BaseException as error:
        config.path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise HostError(f"cannot make disk {config.path} of {size} bytes: {error.strerror}") from error
        raise


def make_qcow2(config: DiskConfig, size: int, progress: Progress | None) -> None:
    assert config.path is not None  # noqa: S101 - as above
    from innkeeper.storage.images import create
    from innkeeper.storage.options import ImageOptions

    options = ImageOptions(
        preallocation="off" if config.sparse else "falloc",
        backing_file=str(config.backing_store) if config.backing_store is not None else None,
        backing_fmt=config.backing_format,
    )
    create(config.path, size, image_format=DiskFormat.QCOW2, options=options, progress=progress)
