"""Files on discs: found and read in an ISO image, and small discs written.

Spec: ECMA-119 (ISO 9660), the Joliet extension, and of the Rock Ridge extension (IEEE P1282) the names. Left out: multi-session
discs, files in several extents, names that go on in a continuation area, UDF.
"""

import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from innkeeper.errors import ConfigError, HostError
from innkeeper.records import dataclass

SECTOR = 2048
FIRST_DESCRIPTOR = 16
DESCRIPTORS_LIMIT = 64
DIRECTORY_LIMIT = 16 << 20
CHUNK = 1 << 20
PRIMARY, SUPPLEMENTARY, END = 1, 2, 255
JOLIET = (b"%/@", b"%/C", b"%/E")
IS_DIRECTORY, GOES_ON = 2, 0x80
RECORD = struct.Struct("<BBI4xI4x7xBBBH2xB")  # up to the length of the name


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or folder: where it lies on the disc."""

    name: str
    sector: int
    size: int
    folder: bool
    whole: bool = True


class Disc:
    """An ISO image that is open. Names are compared without regard to case."""

    def __init__(self, path: Path) -> None:
        """Raises `ConfigError` if it is no disc, `HostError` if it cannot be read."""
        self.path = path
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise HostError(f"cannot read {path}: {error.strerror}") from error
        try:
            self.label, self._root, self._joliet = self._descriptors()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def find(self, place: str) -> Entry | None:
        """A file, by its path from the root."""
        here = self._root
        for name in place.strip("/").split("/"):
            if not here.folder:
                return None
            found = next((entry for entry in self._entries(here) if entry.name.lower() == name.lower()), None)
            if found is None:
                return None
            here = found
        return here if not here.folder else None

    def has(self, place: str) -> bool:
        return self.find(place) is not None

    def text(self, place: str, limit: int = CHUNK) -> str | None:
        """A small file's words; None if there is none."""
        entry = self.find(place)
        return self._at(entry.sector, min(entry.size, limit)).decode(errors="replace") if entry is not None else None

    def extract(self, place: str, target: Path) -> None:
        """Copies a file from the disc. Raises `InnkeeperError`."""
        entry = self.find(place)
        if entry is None:
            raise ConfigError(f"there is no {place} on {self.path}")
        if not entry.whole:
            raise ConfigError(f"{place} on {self.path} is in several parts, which cannot be read here")
        try:
            with target.open("xb") as file:
                for piece in self._pieces(entry):
                    file.write(piece)
        except OSError as error:
            raise HostError(f"cannot write {target}: {error.strerror}") from error

    def _pieces(self, entry: Entry) -> Iterator[bytes]:
        for start in range(0, entry.size, CHUNK):
            yield self._read(entry.sector * SECTOR + start, min(CHUNK, entry.size - start))

    def _descriptors(self) -> tuple[str, Entry, bool]:
        """The volume's label and its root: Joliet's if there is one, as its names are whole."""
        label, found, joliet = "", None, False
        for number in range(DESCRIPTORS_LIMIT):
            data = self._read((FIRST_DESCRIPTOR + number) * SECTOR, SECTOR, check=False)
            if len(data) < SECTOR or data[1:6] != b"CD001" or data[0] == END:
                break
            is_joliet = data[0] == SUPPLEMENTARY and data[88:91] in JOLIET
            if data[0] == PRIMARY:
                label = data[40:72].decode("ascii", "replace").rstrip()
            if (data[0] == PRIMARY and found is None) or is_joliet:
                _, _, sector, size, *_ = RECORD.unpack_from(data, 156)
                found, joliet = Entry("", sector, size, folder=True), is_joliet
        if found is None:
            raise ConfigError(f"{self.path} is no ISO image: it has no file system of discs")
        return label, found, joliet

    def _entries(self, folder: Entry) -> Iterator[Entry]:
        data = self._at(folder.sector, min(folder.size, DIRECTORY_LIMIT))
        at = 0
        while at + RECORD.size < len(data):
            length, _, sector, size, flags, _, _, _, name_length = RECORD.unpack_from(data, at)
            if length == 0:  # records do not cross sectors
                at = (at // SECTOR + 1) * SECTOR
                continue
            record = data[at : at + length]
            at += length
            raw = record[RECORD.size : RECORD.size + name_length]
            if raw in (b"\0", b"\1", b""):  # the folder itself, and the one above
                continue
            name = self._name(record, raw, RECORD.size + name_length)
            yield Entry(name, sector, size, bool(flags & IS_DIRECTORY), not flags & GOES_ON)

    def _name(self, record: bytes, raw: bytes, end: int) -> str:
        if self._joliet:
            return raw.decode("utf-16-be", "replace").split(";", 1)[0]
        return rock_ridge_name(record[end + end % 2 :]) or raw.decode("ascii", "replace").split(";", 1)[0].rstrip(".")

    def _at(self, sector: int, size: int) -> bytes:
        return self._read(sector * SECTOR, size)

    def _read(self, offset: int, size: int, *, check: bool = True) -> bytes:
        try:
            self._file.seek(offset)
            data = self._file.read(size)
        except OSError as error:
            raise HostError(f"cannot read {self.path}: {error.strerror}") from error
        if check and len(data) < size:
            raise ConfigError(f"{self.path} ends too early: it is not the whole disc")
        return data


def rock_ridge_name(area: bytes) -> str:
    """The name in a record's system use area; empty if there is none."""
    name, at = b"", 0
    while at + 5 <= len(area):
        length = area[at + 2]
        if length < 4:
            break
        if area[at : at + 2] == b"NM":
            name += area[at + 5 : at + length]
        at += length
    return name.decode(errors="replace")


# ---- writing ----------------------------------------------------------------------------------------


def write_disc(target: Path, label: str, contents: Mapping[str, bytes]) -> None:
    """A disc with a few files in its root, readable by this user alone. Raises `HostError`."""
    descriptor = -1
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(disc_of(label, contents))
    except OSError as error:
        raise HostError(f"cannot write {target}: {error.strerror}") from error


def disc_of(label: str, contents: Mapping[str, bytes]) -> bytes:
    """Two trees over the same files: plain names and Joliet's."""
    tables, first = 19, 23  # path tables, then the two roots, then files
    place, at = {}, first + 2
    for name, data in contents.items():
        place[name] = at
        at += max(-(-len(data) // SECTOR), 1)
    roots = []
    for joliet in (False, True):
        names = (
            {short(name, number): name for number, name in enumerate(contents)}
            if not joliet
            else {n: n for n in contents}
        )
        records = [
            record(b"\0", first + joliet, SECTOR, IS_DIRECTORY),
            record(b"\1", first + joliet, SECTOR, IS_DIRECTORY),
        ]
        for shown, name in sorted(names.items()):
            raw = shown.encode("utf-16-be") if joliet else f"{shown};1".encode()
            records.append(record(raw, place[name], len(contents[name]), 0))
        root = b"".join(records)
        if len(root) > SECTOR:
            raise ConfigError(f"{len(contents)} files are too many for a small disc")
        roots.append(root.ljust(SECTOR, b"\0"))
    pieces = [bytes(FIRST_DESCRIPTOR * SECTOR)]
    pieces += [volume(label, at, tables + 2 * joliet, first + joliet, joliet=joliet) for joliet in (False, True)]
    pieces.append((bytes([END]) + b"CD001\1").ljust(SECTOR, b"\0"))
    for joliet in (False, True):
        for order in ("<", ">"):
            pieces.append(
                (struct.pack("BB", 1, 0) + struct.pack(f"{order}IH", first + joliet, 1) + b"\0\0").ljust(SECTOR, b"\0")
            )
    pieces += roots
    pieces += [data.ljust(max(-(-len(data) // SECTOR), 1) * SECTOR, b"\0") for data in contents.values()]
    return b"".join(pieces)


def short(name: str, number: int) -> str:
    """A name of capitals, digits and underscores, as the plain tree wants it."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name.upper())
    return f"{kept[:6]}{number:02d}"


def record(name: bytes, sector: int, size: int, flags: int) -> bytes:
    length = 33 + len(name) + (len(name) + 1) % 2
    head = struct.pack("BB", length, 0) + both("I", sector) + both("I", size) + bytes(7)
    return (head + struct.pack("BBB", flags, 0, 0) + both("H", 1) + bytes([len(name)]) + name).ljust(length, b"\0")


def both(kind: str, value: int) -> bytes:
    """A number in both orders of bytes."""
    return struct.pack(f"<{kind}", value) + struct.pack(f">{kind}", value)


def volume(label: str, sectors: int, table: int, root: int, *, joliet: bool) -> bytes:
    def text(words: str, size: int) -> bytes:
        raw = words.encode("utf-16-be") if joliet else words.encode("ascii", "replace")
        return raw[:size].ljust(size, b"\0" if joliet else b" ")

    data = bytearray(SECTOR)
    data[0:7] = bytes([SUPPLEMENTARY if joliet else PRIMARY]) + b"CD001\1"
    data[8:40], data[40:72] = text("LINUX", 32), text(label, 32)
    data[80:88] = both("I", sectors)
    if joliet:
        data[88:91] = JOLIET[2]
    data[120:124], data[124:128], data[128:132] = both("H", 1), both("H", 1), both("H", SECTOR)
    data[132:140] = both("I", 10)
    data[140:148] = struct.pack("<II", table, 0)
    data[148:156] = struct.pack(">II", table + 1, 0)
    data[156:190] = record(b"\0", root, SECTOR, IS_DIRECTORY)
    for at in (813, 830, 847, 864):
        data[at : at + 17] = b"0" * 16 + b"\0"
    data[881] = 1
    return bytes(data)
