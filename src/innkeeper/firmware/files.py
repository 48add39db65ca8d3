"""Reads files that a guest gets whole: kernels, RAM disks, ROMs."""

from pathlib import Path

from innkeeper.errors import BootError


def read_file(path: Path, what: str) -> bytes:
    """Raises `BootError` if it cannot be read, or is empty."""
    if path.is_char_device() or path.is_block_device():  # endless, as /dev/zero is
        raise BootError(f"cannot read {what} {path}: it is a device")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BootError(f"cannot read {what} {path}: {(error.strerror or str(error)).lower()}") from error
    if not data:
        raise BootError(f"{what} {path} is empty")
    return data
