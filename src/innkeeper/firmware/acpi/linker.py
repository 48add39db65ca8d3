"""The ACPI tables as files for a firmware that puts them where it likes, and the script by which it links them.

Spec: the BIOS linker/loader of QEMU's fw_cfg ("etc/table-loader"): records of 128 bytes. ALLOCATE says that a file goes to
memory, ADD_POINTER adds one file's address to a field of another, ADD_CHECKSUM makes a range sum to zero whose checksum was zero: SeaBIOS
takes the sum from what is there, OVMF puts it in its place.
"""

import struct

from innkeeper.firmware.acpi.tables import AcpiBoard, Relocatable, unlinked

RSDP_FILE, TABLES_FILE, SCRIPT_FILE = "etc/acpi/rsdp", "etc/acpi/tables", "etc/table-loader"
ALLOCATE, ADD_POINTER, ADD_CHECKSUM = 1, 2, 3
ZONE_HIGH, ZONE_F_SEGMENT = 1, 2
NAME_BYTES, RECORD_BYTES = 56, 128


def linker_files(board: AcpiBoard) -> dict[str, bytes]:
    """The files by name. Their lengths do not depend on addresses in `board`."""
    parts = unlinked(board)
    script = [
        _record(ALLOCATE, f"{NAME_BYTES}sIB", RSDP_FILE.encode(), 16, ZONE_F_SEGMENT),
        _record(ALLOCATE, f"{NAME_BYTES}sIB", TABLES_FILE.encode(), 64, ZONE_HIGH),
        *_links(TABLES_FILE, parts.tables),
        *_links(RSDP_FILE, parts.rsdp),
    ]
    return {RSDP_FILE: _unsummed(parts.rsdp), TABLES_FILE: _unsummed(parts.tables), SCRIPT_FILE: b"".join(script)}


def _unsummed(part: Relocatable) -> bytes:
    content = bytearray(part.content)
    for field in part.checksums:
        content[field.offset] = 0
    return bytes(content)


def _links(name: str, part: Relocatable) -> list[bytes]:
    """Pointers first: they change what is summed."""
    file, tables = name.encode(), TABLES_FILE.encode()
    pointers = [
        _record(ADD_POINTER, f"{NAME_BYTES}s{NAME_BYTES}sIB", file, tables, field.offset, field.size)
        for field in part.pointers
    ]
    sums = [
        _record(ADD_CHECKSUM, f"{NAME_BYTES}sIII", file, field.offset, field.start, field.length)
        for field in part.checksums
    ]
    return pointers + sums


def _record(command: int, code: str, *fields: int | bytes) -> bytes:
    return struct.pack(f"<I{code}", command, *fields).ljust(RECORD_BYTES, b"\0")
