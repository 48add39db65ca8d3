"""SMBIOS structures as firmware is handed them."""

import struct
from uuid import UUID

import pytest

from innkeeper.firmware import MapEntry, MapKind
from innkeeper.firmware.smbios import ANCHOR_FILE, TABLES_FILE, SmbiosMachine, smbios_files

MIB, GIB = 1 << 20, 1 << 30
A_UUID = UUID("00112233-4455-6677-8899-aabbccddeeff")


def files(vcpus: int = 2, *ram: tuple[int, int]) -> dict[str, bytes]:
    entries = tuple(MapEntry(gpa, size, MapKind.RAM) for gpa, size in ram or ((0, 512 * MIB),))
    return smbios_files(SmbiosMachine(name="guest", uuid=A_UUID, vcpus=vcpus, memory_map=entries, version="1.2"))


def structures(tables: bytes) -> list[tuple[int, bytes, list[bytes]]]:
    """Type, formatted area and strings of each, taken apart as a guest does."""
    found, at = [], 0
    while at < len(tables):
        kind, length = tables[at], tables[at + 1]
        end = tables.index(b"\0\0", at + length) + 2
        found.append((kind, tables[at : at + length], tables[at + length : end - 2].split(b"\0")))
        at = end
    return found


def test_the_entry_point_counts_what_is_there() -> None:
    told = files()
    anchor, found = told[ANCHOR_FILE], structures(told[TABLES_FILE])
    assert len(anchor) == 31
    assert (anchor[:4], anchor[16:21]) == (b"_SM_", b"_DMI_")
    assert struct.unpack_from("<H", anchor, 22)[0] == len(told[TABLES_FILE])
    assert struct.unpack_from("<H", anchor, 28)[0] == len(found)
    assert [kind for kind, _, _ in found] == [0, 1, 3, 4, 4, 16, 17, 19, 32, 127]
    handles = [struct.unpack_from("<H", area, 2)[0] for _, area, _ in found]
    assert len(set(handles)) == len(handles)


def test_a_guest_reads_its_name_and_uuid() -> None:
    ((_, area, strings),) = [item for item in structures(files()[TABLES_FILE]) if item[0] == 1]
    assert area[8:24] == A_UUID.bytes_le
    assert strings == [b"Innkeeper", b"pc", b"1.2", b"guest"]
    assert len(area) == 27


@pytest.mark.parametrize(
    ("kind", "length"), [(0, 24), (1, 27), (3, 22), (4, 42), (16, 23), (17, 34), (19, 31), (32, 11)]
)
def test_structures_have_the_lengths_of_their_version(kind: int, length: int) -> None:
    assert {len(area) for k, area, _ in structures(files()[TABLES_FILE]) if k == kind} == {length}


def test_memory_adds_up() -> None:
    found = structures(files(1, (0, 3 * GIB), (4 * GIB, 37 * GIB))[TABLES_FILE])
    devices = [struct.unpack_from("<H", area, 12)[0] for kind, area, _ in found if kind == 17]
    assert sum(devices) == 40 * 1024
    ranges = [struct.unpack_from("<II", area, 4) for kind, area, _ in found if kind == 19]
    assert ranges == [(0, 3 * MIB - 1), (4 * MIB, 41 * MIB - 1)]
