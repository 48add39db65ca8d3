"""ELF executables: program headers and notes, as far as a boot loader cares.

Spec: System V ABI, chapters 4 and 5 ("Object Files", "Program Loading"). Left out: sections, symbols,
relocation.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from innkeeper.errors import BootError
from innkeeper.firmware.base import Span, write
from innkeeper.memory import GuestMemory
from innkeeper.records import dataclass

MAGIC = b"\x7fELF"
CLASS_32, CLASS_64 = 1, 2
LITTLE_ENDIAN = 1
MACHINE_386, MACHINE_X86_64 = 3, 62
PT_LOAD, PT_NOTE = 1, 4

HEADER = {CLASS_32: struct.Struct("<16sHHIIIIIHHHHHH"), CLASS_64: struct.Struct("<16sHHIQQQIHHHHHH")}
PROGRAM_HEADER = {CLASS_32: struct.Struct("<8I"), CLASS_64: struct.Struct("<IIQQQQQQ")}
NOTE_HEADER = struct.Struct("<III")


@dataclass(frozen=True, slots=True)
class Segment:
    """One program header."""

    kind: int
    offset: int
    physical: int
    virtual: int
    file_size: int
    memory_size: int
    alignment: int


class ElfImage:
    """An x86 executable. Raises `BootError` if it is none, or cut short."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self._data = data
        kind = data[4] if len(data) > 5 else 0
        if not data.startswith(MAGIC) or kind not in HEADER or data[5] != LITTLE_ENDIAN:
            raise BootError(f"kernel {path} is not a little-endian ELF file")
        if len(data) < HEADER[kind].size:
            raise self._truncated()
        fields = HEADER[kind].unpack_from(data)
        machine, self.entry, table, entry_size, count = fields[2], fields[4], fields[5], fields[9], fields[10]
        if machine not in (MACHINE_386, MACHINE_X86_64):
            raise BootError(f"kernel {path} is for ELF machine {machine}; this machine is an x86 (3 or 62)")
        if count and entry_size < PROGRAM_HEADER[kind].size:
            raise BootError(f"kernel {path} has ELF program headers of {entry_size} bytes; that is too short")
        if table + entry_size * count > len(data):
            raise self._truncated()
        self.segments = [self._segment(kind, table + i * entry_size) for i in range(count)]

    def _truncated(self) -> BootError:
        return BootError(f"kernel {self.path} is truncated: it ends after {len(self._data)} bytes")

    def _segment(self, kind: int, at: int) -> Segment:
        fields = PROGRAM_HEADER[kind].unpack_from(self._data, at)
        if kind == CLASS_32:
            p_type, offset, virtual, physical, file_size, memory_size, _flags, alignment = fields
        else:
            p_type, _flags, offset, virtual, physical, file_size, memory_size, alignment = fields
        if p_type in (PT_LOAD, PT_NOTE) and offset + file_size > len(self._data):
            raise self._truncated()
        return Segment(p_type, offset, physical, virtual, file_size, memory_size, alignment)

    def holds(self, words: bytes) -> bool:
        """Whether they are anywhere in the file."""
        return words in self._data

    def notes(self) -> Iterator[tuple[bytes, int, bytes]]:
        """Name, type and content of each note."""
        for segment in self.segments:
            if segment.kind == PT_NOTE:
                yield from _notes(self._data[segment.offset : segment.offset + segment.file_size], segment.alignment)

    def loadable(self) -> list[Segment]:
        """The segments that take memory. Raises `BootError` if there are none."""
        segments = [segment for segment in self.segments if segment.kind == PT_LOAD and segment.memory_size]
        if not segments:
            raise BootError(f"kernel {self.path} is an ELF file with nothing to load")
        return segments

    def span(self) -> Span:
        """The guest-physical memory it takes, holes included."""
        segments = self.loadable()
        return Span(
            min(segment.physical for segment in segments),
            max(segment.physical + segment.memory_size for segment in segments),
        )

    def load(self, memory: GuestMemory) -> None:
        """Puts the segments where they belong. RAM is zero already."""
        for segment in self.loadable():
            end = segment.offset + min(segment.file_size, segment.memory_size)
            try:
                write(memory, segment.physical, self._data, segment.offset, end)
                # The rest is zero; touch its ends only, to learn whether the memory exists.
                memory.read(segment.physical + segment.memory_size - 1, 1)
            except ValueError as error:
                raise BootError(
                    f"kernel {self.path} wants {segment.memory_size} bytes at {segment.physical:#x}, where the "
                    "machine has no memory"
                ) from error


def _notes(data: bytes, alignment: int) -> Iterator[tuple[bytes, int, bytes]]:
    step = 8 if alignment == 8 else 4
    at = 0
    while at + NOTE_HEADER.size <= len(data):
        name_size, content_size, kind = NOTE_HEADER.unpack_from(data, at)
        name_at = at + NOTE_HEADER.size
        content_at = name_at + -(-name_size // step) * step
        if content_at + content_size > len(data):
            return
        name = data[name_at : name_at + name_size].rstrip(b"\0")
        yield name, kind, data[content_at : content_at + content_size]
        at = content_at + -(-content_size // step) * step
