"""The linker's script, carried out as firmware does: the tables come out as if built in place."""

import struct

import pytest

from innkeeper.firmware.acpi import build, linker_files
from innkeeper.firmware.acpi.linker import RSDP_FILE, SCRIPT_FILE, TABLES_FILE
from innkeeper.memory import FlatMemory
from innkeeper.platforms import PcBoard, Surroundings
from innkeeper.testing import FakeClock, ScriptedVm
from tests.firmware.test_acpi import Nobody


@pytest.mark.parametrize("takes_from", [True, False], ids=["as SeaBIOS", "as OVMF"])
def test_the_script_makes_what_would_be_built_in_place(*, takes_from: bool) -> None:
    """SeaBIOS takes the sum from what the checksum was; OVMF replaces that by the sum, with what it was among the summands."""
    memory, nobody = FlatMemory([(0xC0000, 0x40000)]), Nobody()
    around = Surroundings(buses=ScriptedVm(memory), memory=memory, clock=FakeClock(), console=nobody, control=nobody)
    described = PcBoard(around, memory_mib=512, vcpus=2)._describe()
    base = 0x07FF_0000
    files = linker_files(described)
    at = {RSDP_FILE: base, TABLES_FILE: base + 64}
    placed: dict[str, bytearray] = {}
    script = files[SCRIPT_FILE]
    assert len(script) % 128 == 0
    for start in range(0, len(script), 128):
        record = script[start : start + 128]
        name = record[4:60].rstrip(b"\0").decode()
        match struct.unpack_from("<I", record)[0]:
            case 1:
                alignment, _ = struct.unpack_from("<IB", record, 60)
                assert at[name] % alignment == 0
                placed[name] = bytearray(files[name])
            case 2:
                source = record[60:116].rstrip(b"\0").decode()
                offset, size = struct.unpack_from("<IB", record, 116)
                value = int.from_bytes(placed[name][offset : offset + size], "little") + at[source]
                placed[name][offset : offset + size] = value.to_bytes(size, "little")
            case _:
                offset, first, length = struct.unpack_from("<III", record, 60)
                before = placed[name][offset] if takes_from else 0
                placed[name][offset] = (before - sum(placed[name][first : first + length])) & 0xFF

    assert bytes(placed[RSDP_FILE].ljust(64, b"\0") + placed[TABLES_FILE]) == build(described, base)
