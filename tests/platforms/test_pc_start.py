"""Boards that start by firmware, and what is done in its place where there is none."""

import struct
from dataclasses import replace
from uuid import UUID

import pytest
from tests.platforms.test_pc import Outside

from innkeeper.devices.boot import BootEntry, BootKind, boot_order, boot_path
from innkeeper.devices.pci import Bar, BarKind, PciFunction, PciIdentity, PciSite
from innkeeper.devices.pci import config_space as space
from innkeeper.devices.testdev import TestRegister
from innkeeper.firmware import HandedKernel
from innkeeper.memory import FlatMemory
from innkeeper.platforms import PcBoard, Surroundings
from innkeeper.platforms.pc import PORTS, pci_window, pci_window_64
from innkeeper.platforms.pc_start import FirmwareStart
from innkeeper.testing import FakeClock, ScriptedVm

MIB, GIB = 1 << 20, 1 << 30
ROM = bytes(0x1_0000) + b"low half" + bytes(0x1_FFF8) + b"b" * 0x1_0000
START = FirmwareStart(rom=ROM, uuid=UUID(int=7), serial_port=0x3F8)


class Card:
    """A device with one region of each kind, that can be booted."""

    def __init__(self, *kinds: BootKind) -> None:
        self.kinds = kinds

    def function(self, site: PciSite, /) -> PciFunction:
        function = PciFunction(PciIdentity(vendor=0x1AF4, device=0x1000, class_code=0x020000), interrupt_pin=1)
        function.add_bar(0, Bar(BarKind.IO, 0x40, TestRegister(0x40)))
        function.add_bar(1, Bar(BarKind.MEMORY32, 0x1000, TestRegister(0x1000)))
        function.add_bar(4, Bar(BarKind.MEMORY64, 0x4000, TestRegister(0x4000)))
        assert site.slot >= 2
        return function

    def boot_entries(self) -> tuple[BootEntry, ...]:
        return tuple(BootEntry(kind, "scsi@{unit}/disk@0,0") for kind in self.kinds)


class Assembled:
    def __init__(self, *cards: Card, start: FirmwareStart | None = None, memory_mib: int = 512) -> None:
        self.memory = FlatMemory([(0, 0xA0000), (0xC0000, 0x40000)])
        self.vm = ScriptedVm(self.memory)
        self.outside = Outside()
        around = Surroundings(
            buses=self.vm,
            memory=self.memory,
            clock=FakeClock(),
            console=self.outside,
            control=self.outside,
            slots=cards,
        )
        self.board = PcBoard(around, memory_mib=memory_mib, vcpus=1, start=start)

    def item(self, key: int, length: int) -> bytes:
        """As firmware reads it from fw_cfg."""
        base, _ = PORTS["fw_cfg"]
        self.vm.ports.write(base, 2, key)
        return bytes(self.vm.ports.read(base + 1, 1) for _ in range(length))

    def file(self, name: str) -> bytes:
        (count,) = struct.unpack(">I", self.item(0x19, 4))
        for entry in struct.iter_unpack(">IHH56s", self.item(0x19, 4 + 64 * count)[4:]):
            if entry[3].rstrip(b"\0").decode() == name:
                return self.item(entry[1], entry[0])
        raise LookupError(name)


def test_reset_finds_the_rom_below_4_gib_and_its_end_below_1_mib() -> None:
    memory = Assembled(start=START).memory
    assert memory.read((4 << 30) - len(ROM), len(ROM)) == ROM
    assert memory.read(0xE0000, 0x20000) == ROM[-0x20000:]
    memory.write(0xF0000, b"x")
    assert memory.read(0xF0000, 1) == b"b"


def test_a_board_leaves_the_buses_as_it_found_them() -> None:
    assembled = Assembled(Card(), start=START)
    assembled.board.unplug()
    assert assembled.memory.ranges == [(0, 0xA0000), (0xC0000, 0x40000)]
    assert assembled.vm.ports.regions() == assembled.vm.mmio.regions() == []


def test_firmware_is_told_what_to_boot() -> None:
    cards = (Card(BootKind.HD), Card(), Card(BootKind.CDROM))
    start = FirmwareStart(rom=ROM, uuid=UUID(int=7), order=("cdrom", "hd"), only=True, menu=True)
    assembled = Assembled(*cards, start=start)
    assert assembled.file("bootorder") == b"/pci@i0cf8/scsi@4/disk@0,0\n/pci@i0cf8/scsi@2/disk@0,0\nHALT\0"
    with pytest.raises(LookupError):
        assembled.file("etc/sercon-port")


def test_firmware_is_handed_a_kernel() -> None:
    handed = HandedKernel(setup=b"setup", rest=b"the rest", initrd=b"initrd", command_line=b"quiet\0")
    assembled = Assembled(start=replace(START, kernel=handed))
    for size_key, key, content in (
        (0x17, 0x18, handed.setup),
        (0x08, 0x11, handed.rest),
        (0x0B, 0x12, handed.initrd),
        (0x14, 0x15, handed.command_line),
    ):
        assert assembled.item(size_key, 4) == len(content).to_bytes(4, "little")
        assert assembled.item(key, len(content)) == content
    assert Assembled(start=START).item(0x08, 4) == bytes(4)


def test_boot_numbers_come_before_kinds() -> None:
    hd, cdrom, net = (BootEntry(kind, kind) for kind in (BootKind.HD, BootKind.CDROM, BootKind.NETWORK))
    first = BootEntry(BootKind.NETWORK, "n", order=1)
    found = [("hd", hd), ("cdrom", cdrom), ("net", net), ("first", first)]
    assert boot_order(found, ("cdrom", "hd")) == ["first", "cdrom", "hd"]
    assert boot_path(BootEntry(BootKind.HD, "ide@{unit}/drive@0/disk@0"), 1, 1) == "/pci@i0cf8/ide@1,1/drive@0/disk@0"


def test_media_of_a_kind_are_tried_as_they_were_given_whatever_bus_they_are_on() -> None:
    first, second, third = (BootEntry(BootKind.HD, path, given=given) for given, path in enumerate("abc"))
    disc = BootEntry(BootKind.CDROM, "d", given=3)
    found = [(entry.path, entry) for entry in (third, disc, second, first)]
    assert boot_order(found, ("cdrom", "hd")) == ["d", "a", "b", "c"]


def test_the_tables_follow_firmware_that_moves_the_acpi_registers() -> None:
    assembled = Assembled(start=START)
    before = assembled.file("etc/acpi/tables")
    fadt = before.index(b"FACP")
    assert struct.unpack_from("<I", before, fadt + 56)[0] == 0x600
    for address, value in ((0x8000_0B40, 0xB001), (0x8000_0B80, 1)):
        assembled.vm.ports.write(0xCF8, 4, address)
        assembled.vm.ports.write(0xCFC, 4, value)
    after = assembled.file("etc/acpi/tables")
    assert struct.unpack_from("<I", after, fadt + 56)[0] == 0xB000
    assert len(after) == len(before)
    assert assembled.vm.ports.read(0xB004, 2) == 1


def test_a_bios_is_told_that_the_guest_wakes() -> None:
    assembled = Assembled(start=START)
    assembled.vm.ports.write(0xCF8, 4, 0x8000_0058)
    assembled.vm.ports.write(0xCFD, 1, 0x10)
    kept = assembled.board.kept_over_sleep()
    assert (kept.rtc.ram[0x0F], kept.pam) == (0xFE, b"\x10" + bytes(6))
    assert assembled.board.kept_over_reset().pam is None


def test_without_firmware_functions_have_their_places_and_lines() -> None:
    assembled = Assembled(Card(), Card())
    functions = assembled.board.pci.functions()
    window = pci_window(512)
    seen = set()
    for slot, line in ((2, 10), (3, 11)):
        function = functions[slot, 0]
        assert function.read_config(space.COMMAND, 2) == space.COMMAND_IO | space.COMMAND_MEMORY
        assert function.read_config(space.INTERRUPT_LINE, 1) == line
        bases = [function.read_config(space.BARS + 4 * register, 4) & ~0xF for register in (1, 4)]
        assert all(window[0] <= base < window[1] for base in bases)
        seen |= {*bases, function.read_config(space.BARS, 4) & ~3}
    assert len(seen) == 6
    assert len(assembled.vm.mmio.regions()) == 1 + 4


@pytest.mark.parametrize(
    ("memory_mib", "start", "start_64"),
    [(512, 2 * GIB, 4 * GIB), (2048, 2 * GIB, 4 * GIB), (2049, 3 * GIB, 4 * GIB), (4096, 3 * GIB, 5 * GIB)],
)
def test_regions_lie_where_seabios_puts_them(memory_mib: int, start: int, start_64: int) -> None:
    window_64 = pci_window_64(memory_mib)
    assert pci_window(memory_mib)[0] == start
    assert window_64 is not None
    assert window_64[0] == start_64
