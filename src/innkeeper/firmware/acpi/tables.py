"""RSDP, RSDT, XSDT, FADT, FACS, MADT and DSDT.

Spec: ACPI 6.5, chapter 5.2. The board has ACPI's fixed hardware (it is not "hardware-reduced").
"""

import struct
from dataclasses import field

from innkeeper.firmware.acpi.dsdt import IsaDevice, PciRoot, PciSlots, dsdt
from innkeeper.firmware.acpi.processors import Processors
from innkeeper.memory import GuestMemory
from innkeeper.records import dataclass

OEM_ID, OEM_TABLE_ID, OEM_REVISION = b"INNKPR", b"INNKPRPC", 1
CREATOR_ID, CREATOR_REVISION = b"INNK", 1
HEADER = struct.Struct("<4sIBB6s8sI4sI")
FACS_AT = 64  # from the start of the block that `build` makes
RSDP_BYTES = 36
FACS_WAKING_VECTOR = 12
CHECKSUM_AT = 9

SPACE_IO = 1
ACCESS_BYTE, ACCESS_WORD, ACCESS_DWORD = 1, 2, 3

FADT_REVISION, FADT_MINOR, FADT_BYTES = 6, 5, 276
PROFILE_ENTERPRISE_SERVER = 4
# IAPC_BOOT_ARCH: 2 no VGA │ 1 8042 │ 0 ISA devices
BOOT_LEGACY, BOOT_8042, BOOT_NO_VGA = 1 << 0, 1 << 1, 1 << 2
# Flags: 10 reset register │ 8 32-bit timer │ 5 no fixed sleep button │ 2 C1 │ 0 WBINVD
FADT_FLAGS = 1 << 0 | 1 << 2 | 1 << 5 | 1 << 8 | 1 << 10
NO_C2, NO_C3 = 101, 1001  # latencies that mean "not there"

MADT_REVISION = 5
MADT_PCAT_COMPATIBLE = 1
IO_APIC, SOURCE_OVERRIDE, LOCAL_APIC_NMI = 1, 2, 4
CONFORMS, HIGH_LEVEL = 0x0, 0xD  # polarity and trigger mode of an override
ALL_PROCESSORS = 0xFF


@dataclass(frozen=True, slots=True, kw_only=True)
class AcpiBoard:
    """What the tables have to say. `overrides` map an ISA IRQ to (GSI, flags)."""

    processors: Processors
    local_apic: int
    io_apic: int
    pm_base: int
    sci: int
    reset_port: int
    reset_value: int
    sleep_types: dict[int, int]  # by sleep state: what PM1_CNT calls it
    cmos_century: int
    gpe_bytes: int
    root: PciRoot
    slots: PciSlots
    isa_slot: int
    isa_devices: tuple[IsaDevice, ...]
    overrides: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pointer:
    """A field of `size` bytes that becomes an address once it is known where the tables are."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Checksum:
    """The byte at `offset` makes the sum of `length` bytes from `start` zero."""

    offset: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Relocatable:
    """Content whose pointers still count from the start of the tables."""

    content: bytes
    pointers: tuple[Pointer, ...]
    checksums: tuple[Checksum, ...]

    def at(self, tables: int) -> bytes:
        """The same with the tables at an address."""
        linked = bytearray(self.content)
        for pointer in self.pointers:
            field_ = slice(pointer.offset, pointer.offset + pointer.size)
            address = int.from_bytes(linked[field_], "little") + tables
            linked[field_] = address.to_bytes(pointer.size, "little")
        for sum_ in self.checksums:
            covered = linked[sum_.start : sum_.start + sum_.length]
            linked[sum_.offset] = (linked[sum_.offset] - sum(covered)) & 0xFF
        return bytes(linked)


@dataclass(frozen=True, slots=True)
class Unlinked:
    """The RSDP, and all other tables as one block for a multiple of 64, the FACS first."""

    rsdp: Relocatable
    tables: Relocatable


def unlinked(board: AcpiBoard) -> Unlinked:
    """The tables before it is known where they will be."""
    block = _Block()
    facs = block.add(_facs())
    dsdt_at = block.add(
        table(
            b"DSDT",
            2,
            dsdt(board.root, board.isa_slot, board.isa_devices, board.sleep_types, board.processors, board.slots),
        )
    )
    fadt = block.add(_fadt(board, facs, dsdt_at), (36, 4), (40, 4), (140, 8))
    listed = [fadt, block.add(_madt(board))]
    entries = range(len(listed))
    rsdt = block.add(
        table(b"RSDT", 1, struct.pack(f"<{len(listed)}I", *listed)), *((HEADER.size + 4 * i, 4) for i in entries)
    )
    xsdt = block.add(
        table(b"XSDT", 1, struct.pack(f"<{len(listed)}Q", *listed)), *((HEADER.size + 8 * i, 8) for i in entries)
    )
    pointers, sums = (Pointer(16, 4), Pointer(24, 8)), (Checksum(8, 0, 20), Checksum(32, 0, RSDP_BYTES))
    return Unlinked(Relocatable(_rsdp(rsdt, xsdt), pointers, sums), block.done())


def build(board: AcpiBoard, base: int) -> bytes:
    """All tables as one block to be put at `base` (a multiple of 64), the RSDP first."""
    parts = unlinked(board)
    return parts.rsdp.at(base + FACS_AT).ljust(FACS_AT, b"\0") + parts.tables.at(base + FACS_AT)


def waking_vector(memory: GuestMemory, base: int) -> int:
    """Where a guest that slept wants to wake up in real mode, from the tables at `base`; 0 if nowhere."""
    return int.from_bytes(memory.read(base + FACS_AT + FACS_WAKING_VECTOR, 4), "little")


class _Block:
    """Tables one behind the other, each on a multiple of 64 as the FACS wants it."""

    def __init__(self) -> None:
        self._content = bytearray()
        self._pointers: list[Pointer] = []
        self._checksums: list[Checksum] = []

    def add(self, data: bytes, *pointers: tuple[int, int]) -> int:
        """`pointers` are fields of the table, by offset and size."""
        self._content += bytes(-len(self._content) % 64)
        at = len(self._content)
        self._content += data
        self._pointers += [Pointer(at + offset, size) for offset, size in pointers]
        if pointers:
            self._checksums.append(Checksum(at + CHECKSUM_AT, at, len(data)))
        return at

    def done(self) -> Relocatable:
        return Relocatable(bytes(self._content), tuple(self._pointers), tuple(self._checksums))


def checksum(data: bytes) -> int:
    """The byte that makes the sum of all bytes zero."""
    return -sum(data) & 0xFF


def table(signature: bytes, revision: int, body: bytes) -> bytes:
    """A table with its header."""
    identity = (OEM_ID, OEM_TABLE_ID, OEM_REVISION, CREATOR_ID, CREATOR_REVISION)
    data = bytearray(HEADER.pack(signature, HEADER.size + len(body), revision, 0, *identity) + body)
    data[CHECKSUM_AT] = checksum(bytes(data))
    return bytes(data)


def _rsdp(rsdt: int, xsdt: int) -> bytes:
    first = struct.pack("<8sB6sBI", b"RSD PTR ", 0, OEM_ID, 2, rsdt)
    first = first[:8] + bytes((checksum(first),)) + first[9:]
    whole = first + struct.pack("<IQB3x", RSDP_BYTES, xsdt, 0)
    return whole[:32] + bytes((checksum(whole),)) + whole[33:]


def _facs() -> bytes:
    return struct.pack("<4sI4xIIIQB31x", b"FACS", 64, 0, 0, 0, 0, 2)


def _port(port: int, size: int, access: int) -> bytes:
    """A Generic Address Structure in I/O space (5.2.3.2)."""
    return struct.pack("<BBBBQ", SPACE_IO, 8 * size, 0, access, port)


def _fadt(board: AcpiBoard, facs: int, dsdt_at: int) -> bytes:
    events, control, timer, general = (board.pm_base + offset for offset in (0, 4, 8, 12))
    data = bytearray(FADT_BYTES)

    def put(offset: int, code: str, *values: int) -> None:
        struct.pack_into("<" + code, data, offset, *values)

    put(36, "II", facs, dsdt_at)
    put(45, "BH", PROFILE_ENTERPRISE_SERVER, board.sci)
    put(56, "I", events)
    put(64, "I", control)
    put(76, "I", timer)
    put(80, "I", general)
    put(88, "BBxBB", 4, 2, 4, board.gpe_bytes)  # lengths of PM1_EVT, PM1_CNT, PM_TMR, GPE0
    put(96, "HH", NO_C2, NO_C3)
    put(108, "BH", board.cmos_century, BOOT_LEGACY | BOOT_8042 | BOOT_NO_VGA)
    put(112, "I", FADT_FLAGS)
    data[116:128] = _port(board.reset_port, 1, ACCESS_BYTE)
    put(128, "B", board.reset_value)
    put(131, "B", FADT_MINOR)
    put(140, "Q", dsdt_at)  # X_FIRMWARE_CTRL stays zero: only one of the two may be set
    data[148:160] = _port(events, 4, ACCESS_WORD)
    data[172:184] = _port(control, 2, ACCESS_WORD)
    data[208:220] = _port(timer, 4, ACCESS_DWORD)
    data[220:232] = _port(general, board.gpe_bytes, ACCESS_BYTE)
    return table(b"FACP", FADT_REVISION, bytes(data[HEADER.size :]))


def _madt(board: AcpiBoard) -> bytes:
    body = struct.pack("<II", board.local_apic, MADT_PCAT_COMPATIBLE)
    body += board.processors.local_apics()
    body += struct.pack("<BBBxII", IO_APIC, 12, 0, board.io_apic, 0)
    for irq, (gsi, flags) in sorted(board.overrides.items()):
        body += struct.pack("<BBBBIH", SOURCE_OVERRIDE, 10, 0, irq, gsi, flags)
    body += struct.pack("<BBBHB", LOCAL_APIC_NMI, 6, ALL_PROCESSORS, CONFORMS, 1)  # at LINT1
    return table(b"APIC", MADT_REVISION, body)
