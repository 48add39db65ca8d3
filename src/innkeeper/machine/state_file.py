r"""The file that a saved machine is in: written whole or not at all, and checked as foreign input when it is read.

    "Innkeeper state\n" │ version (32 bits)
    "head" block: JSON, what the machine is     │ a block is its name (4 bytes), length (64 bits), CRC-32, content;
    "devs" block: JSON, what it was doing       │ numbers are little-endian; bytes in JSON are {"bytes": base64}
    memories, in the order in which "devs" names them: streams as in crates/innkeeper-bus/src/memory/image.rs
    "end." block: empty

Why it is so: docs/adr/0019-saved-machines.md.
"""

from __future__ import annotations

import base64
import binascii
import errno
import json
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from innkeeper.errors import HostError, ImageError

MAGIC = b"Innkeeper state\n"
VERSION = 1
BLOCK = struct.Struct("<4sQI")
HEAD, DEVICES, END = b"head", b"devs", b"end."
BLOCK_LIMIT = 64 << 20
COPIED_AT_ONCE = 1 << 20
NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)


# ---- writing --------------------------------------------------------------------------------------


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the name `path` once it is complete and on the disk: whoever looks meanwhile, or after a crash,
    finds what was there before. Raises `OSError`.
    """
    beside = path.with_name(f".{path.name[:200]}.{os.getpid()}.saving")
    named = False
    try:
        descriptor = os.open(path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in NO_TMPFILE:
            raise
        descriptor = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        named = True
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not named:
                # Only with a folder, which an absolute path does without, does Python let the host follow the link.
                os.link(f"/proc/self/fd/{file.fileno()}", beside, src_dir_fd=file.fileno(), follow_symlinks=True)
                named = True
            beside.rename(path)
            named = False
        _sync_folder(path.parent)
    finally:
        if named:
            with suppress(OSError):
                beside.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_start(file: BinaryIO, head: object, devices: object) -> None:
    """All that comes before the memories. Raises `OSError`."""
    _write_head(file, head)
    _write_block(file, DEVICES, devices)
    file.flush()


def _write_head(file: BinaryIO, head: object) -> None:
    file.write(MAGIC + struct.pack("<I", VERSION))
    _write_block(file, HEAD, head)


def _write_block(file: BinaryIO, name: bytes, value: object) -> None:
    content = json.dumps(value, default=_packed, separators=(",", ":")).encode()
    file.write(BLOCK.pack(name, len(content), zlib.crc32(content)) + content)


def write_end(file: BinaryIO) -> None:
    """Raises `OSError`."""
    file.write(BLOCK.pack(END, 0, 0))


def _packed(value: object) -> object:
    if isinstance(value, bytes | bytearray):
        return {"bytes": base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} is no plain value")


# ---- reading --------------------------------------------------------------------------------------


class SavedMachine:
    """A saved machine's file, open at what was not read yet."""

    def __init__(self, path: Path) -> None:
        """Reads what the machine is. Raises `InnkeeperError` if it cannot, or if the file is no such."""
        self.path = path
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise HostError(f"cannot open {path}: {error.strerror}") from error
        try:
            self._check_start()
            self.head: dict[str, Any] = self._block(HEAD)
        except BaseException:
            self._file.close()
            raise

    def devices(self) -> dict[str, Any]:
        """What it was doing. To be read once, before the memories. Raises `ImageError`."""
        return self._block(DEVICES)

    @property
    def descriptor(self) -> int:
        """Where the memories are read from, one after the other."""
        return self._file.fileno()

    def copy_rest(self, file: BinaryIO) -> None:
        """What was not read yet, as it is. Raises `OSError`."""
        shutil.copyfileobj(self._file, file, COPIED_AT_ONCE)

    def end(self) -> None:
        """Raises `ImageError` unless this is its end."""
        if self._read(BLOCK.size + 1) != BLOCK.pack(END, 0, 0):
            raise self.damaged("it does not end where it should")

    def remove(self) -> None:
        """Raises `HostError`."""
        try:
            self.path.unlink()
            _sync_folder(self.path.parent)
        except OSError as error:
            raise HostError(f"cannot remove {self.path}: {error.strerror}") from error

    def damaged(self, what: str) -> ImageError:
        return ImageError(f"{self.path} is damaged: {what}; the machine in it is lost")

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_start(self) -> None:
        start = self._read(len(MAGIC) + 4)
        if start[: len(MAGIC)] != MAGIC:
            raise ImageError(f"{self.path} is no saved machine; inn save makes such files")
        version = int.from_bytes(start[len(MAGIC) :], "little")
        if len(start) < len(MAGIC) + 4 or version != VERSION:
            raise ImageError(
                f"{self.path} has version {version} of saved machines; this Innkeeper reads version {VERSION}: "
                "restore it with the one that saved it"
            )

    def _block(self, wanted: bytes) -> dict[str, Any]:
        head = self._read(BLOCK.size)
        if len(head) < BLOCK.size:
            raise self.damaged("it ends too early")
        name, length, checksum = BLOCK.unpack(head)
        if name != wanted or length > BLOCK_LIMIT:
            raise self.damaged("a part of it is missing or too long")
        content = self._read(length)
        if len(content) < length:
            raise self.damaged("it ends too early")
        if zlib.crc32(content) != checksum:
            raise self.damaged("a checksum is wrong")
        try:
            value = json.loads(content, object_hook=_unpacked)
        except (ValueError, RecursionError) as error:
            raise self.damaged("a part of it is not what it should be") from error
        if not isinstance(value, dict):
            raise self.damaged("a part of it is not what it should be")
        return value

    def _read(self, length: int) -> bytes:
        pieces = bytearray()
        try:
            while len(pieces) < length and (piece := self._file.read(length - len(pieces))):
                pieces += piece
        except OSError as error:
            raise HostError(f"cannot read {self.path}: {error.strerror}") from error
        return bytes(pieces)


def _unpacked(value: dict[str, Any]) -> object:
    if value.keys() != {"bytes"}:
        return value
    try:
        return base64.b64decode(value["bytes"], validate=True)
    except (TypeError, binascii.Error) as error:
        raise ValueError("bytes are no base64") from error


def description_of(path: Path) -> dict[str, Any]:
    """What whoever saved a machine wrote beside it. Raises `InnkeeperError` if it is no such file."""
    with SavedMachine(path) as saved:
        described = saved.head.get("description")
    return described if isinstance(described, dict) else {}


def describe_anew(path: Path, description: dict[str, Any]) -> None:
    """Writes something else beside a saved machine: whoever looks meanwhile, or after a crash, finds what was there before, or this.

    Raises `InnkeeperError`.
    """
    with SavedMachine(path) as saved:
        try:
            with whole_file(path) as file:
                _write_head(file, saved.head | {"description": description})
                saved.copy_rest(file)
        except OSError as error:
            raise HostError(f"cannot write {path}: {error.strerror}") from error
