"""SMBIOS tables: what a machine is called, and what it is made of.

Spec: DMTF DSP0134 2.8, as read through a 2.1 (32-bit) entry point; firmware fills in where the structures are. Types: 0
firmware, 1 system, 3 enclosure, 4 processor, 16 memory array, 17 memory device, 19 mapped range, 32 boot status, 127 end.
"""

import struct
from uuid import UUID

from innkeeper.firmware.memory_map import MapEntry
from innkeeper.records import dataclass

ANCHOR_FILE, TABLES_FILE = "etc/smbios/smbios-anchor", "etc/smbios/smbios-tables"
VERSION = (2, 8)
KIB, GIB = 1 << 10, 1 << 30

HANDLES = {0: 0x0000, 1: 0x0100, 3: 0x0300, 4: 0x0400, 16: 0x1000, 17: 0x1100, 19: 0x1300, 32: 0x2000, 127: 0x7F00}
MEMORY_DEVICE_BYTES = 16 * GIB  # so many devices as it takes
UNKNOWN_BYTES_KIB = 0x8000_0000  # the field is too small, another one has it
OTHER, UNKNOWN = 1, 2
SAFE = 3
VIRTUAL_MACHINE = 1 << 4  # firmware characteristics, second extension byte
SYSTEM_MEMORY, NO_ERROR_CORRECTION, ON_MAIN_BOARD = 3, 3, 1
RAM_TECHNOLOGY, DIMM = 0x07, 0x09


@dataclass(frozen=True, slots=True, kw_only=True)
class SmbiosMachine:
    """What the tables have to say."""

    name: str
    uuid: UUID
    vcpus: int
    memory_map: tuple[MapEntry, ...]
    """RAM as (address, size), ascending."""
    version: str


def smbios_files(machine: SmbiosMachine) -> dict[str, bytes]:
    """What firmware takes from fw_cfg: an entry point without an address, and the structures."""
    structures = [
        _firmware(machine),
        _system(machine),
        _enclosure(machine),
        *(_processor(index) for index in range(machine.vcpus)),
        *_memory(machine),
        _structure(32, 0, "6xB", 0),
        _structure(127, 0, ""),
    ]
    tables = b"".join(structures)
    return {ANCHOR_FILE: _entry_point(structures, tables), TABLES_FILE: tables}


def _entry_point(structures: list[bytes], tables: bytes) -> bytes:
    largest = max(len(structure) for structure in structures)
    middle = struct.pack("<5sBHIHB", b"_DMI_", 0, len(tables), 0, len(structures), VERSION[0] << 4 | VERSION[1])
    head = struct.pack("<4sBBBBHB5x", b"_SM_", 0, 31, *VERSION, largest, 0)
    return head + middle


def _structure(kind: int, index: int, code: str, *fields: int | bytes, strings: tuple[str, ...] = ()) -> bytes:
    """The formatted area, then its strings, which fields number from 1."""
    body = struct.pack(f"<{code}", *fields)
    text = b"".join(string.encode("ascii", "replace").replace(b"\0", b"?") + b"\0" for string in strings)
    return struct.pack("<BBH", kind, 4 + len(body), HANDLES[kind] + index) + body + (text or b"\0") + b"\0"


def _firmware(machine: SmbiosMachine) -> bytes:
    characteristics = 1 << 3  # "characteristics are not supported": the extension bytes say what counts
    return _structure(
        0,
        0,
        "BBHBBQBBBBBB",
        *(1, 2, 0xE800, 3, 0, characteristics, 0, VIRTUAL_MACHINE, 0, 0, 0xFF, 0xFF),
        strings=("Innkeeper", machine.version, "01/01/2026"),
    )


def _system(machine: SmbiosMachine) -> bytes:
    wake_up = 0x06  # power switch
    return _structure(
        1,
        0,
        "BBBB16sBBB",
        *(1, 2, 3, 0, machine.uuid.bytes_le, wake_up, 0, 4),
        strings=("Innkeeper", "pc", machine.version, machine.name or "Virtual Machine"),
    )


def _enclosure(machine: SmbiosMachine) -> bytes:
    return _structure(
        3,
        0,
        "BBBBBBBBBIBBBBB",
        *(1, OTHER, 2, 0, 0, SAFE, SAFE, SAFE, UNKNOWN, 0, 0, 0, 0, 0, 0),
        strings=("Innkeeper", machine.version),
    )


def _processor(index: int) -> bytes:
    central, family_other, populated_enabled, no_cache = 3, 1, 0x41, 0xFFFF
    return _structure(
        4,
        index,
        "BBBBQBBHHHBBHHHBBBBBBHH",
        *(1, central, family_other, 2, 0, 0, 0, 0, 2000, 2000, populated_enabled, OTHER),
        *(no_cache, no_cache, no_cache, 0, 0, 0, 1, 1, 1, UNKNOWN, family_other),
        strings=(f"CPU {index}", "Innkeeper"),
    )


def _memory(machine: SmbiosMachine) -> list[bytes]:
    total = sum(entry.size for entry in machine.memory_map)
    devices = -(-total // MEMORY_DEVICE_BYTES)
    structures = [
        _structure(
            16,
            0,
            "BBBIHHQ",
            *(ON_MAIN_BOARD, SYSTEM_MEMORY, NO_ERROR_CORRECTION, UNKNOWN_BYTES_KIB, 0xFFFE, devices, total),
        )
    ]
    for index in range(devices):
        size = min(total - index * MEMORY_DEVICE_BYTES, MEMORY_DEVICE_BYTES)
        structures.append(
            _structure(
                17,
                index,
                "HHHHHBBBBBHHBBBBBIH",
                *(HANDLES[16], 0xFFFE, 0xFFFF, 0xFFFF, _device_size(size), DIMM, 0, 1, 0, RAM_TECHNOLOGY),
                *(1 << 1, 0, 2, 0, 0, 0, 0, size >> 20, 0),
                strings=(f"DIMM {index}", "Innkeeper"),
            )
        )
    for index, entry in enumerate(machine.memory_map):
        structures.append(_mapped_range(index, entry.gpa, entry.gpa + entry.size))
    return structures


def _device_size(size: int) -> int:
    """In MiB, if 15 bits hold it; else 7FFF, and the extended field has it."""
    return min(size >> 20, 0x7FFF)


def _mapped_range(index: int, start: int, end: int) -> bytes:
    """In KiB, if 32 bits hold them; else both are FFFFFFFF, and the extended fields say it in bytes."""
    first, last = start // KIB, end // KIB - 1
    if last >= 0xFFFF_FFFF:
        return _structure(19, index, "IIHBQQ", 0xFFFF_FFFF, 0xFFFF_FFFF, HANDLES[16], 1, start, end - 1)
    return _structure(19, index, "IIHBQQ", first, last, HANDLES[16], 1, 0, 0)
