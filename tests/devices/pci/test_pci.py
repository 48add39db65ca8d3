"""Configuration mechanism #1, configuration space and moving regions."""

import pytest

from innkeeper.devices.pci import Bar, BarKind, HostBridge, PciBus, PciFunction, PciIdentity
from innkeeper.devices.pci import config_space as space
from innkeeper.devices.pci.host_bridge import ADDRESS, DATA, RESET_CONTROL, HostFunction
from innkeeper.devices.pci.piix import IsaBridge
from innkeeper.devices.testdev import TestRegister
from innkeeper.memory import FlatMemory
from innkeeper.testing import ScriptedVm

IDENTITY = PciIdentity(vendor=0x1AF4, device=0x1042, class_code=0x018000, subsystem_vendor=0x1AF4, subsystem=2)


class Root:
    def __init__(self) -> None:
        self.memory = FlatMemory([(0, 0x1000)])
        self.vm = ScriptedVm(self.memory)
        self.resets = 0
        self.bus = PciBus(self.vm)
        self.bridge = HostBridge(self.bus, self.reset)

    def reset(self) -> None:
        self.resets += 1

    def select(self, slot: int, register: int, function: int = 0, bus: int = 0) -> None:
        self.bridge.write(ADDRESS, 4, 1 << 31 | bus << 16 | slot << 11 | function << 8 | register & 0xFC)

    def read(self, slot: int, register: int, size: int = 4) -> int:
        self.select(slot, register)
        return self.bridge.read(DATA + (register & 3), size)

    def write(self, slot: int, register: int, value: int, size: int = 4) -> None:
        self.select(slot, register)
        self.bridge.write(DATA + (register & 3), size, value)


@pytest.fixture
def root() -> Root:
    return Root()


def test_the_bridges_show_who_they_are(root: Root) -> None:
    root.bus.plug(0, HostFunction())
    root.bus.plug(1, IsaBridge())

    assert root.read(0, space.VENDOR_ID) == 0x1237_8086
    assert root.read(0, 0x0A, 2) == 0x0600
    assert root.read(1, space.VENDOR_ID) == 0x7000_8086
    assert root.read(1, space.HEADER_TYPE, 1) == space.HEADER_MULTIFUNCTION


def test_nobody_there_reads_as_all_ones(root: Root) -> None:
    assert root.read(3, 0) == 0xFFFF_FFFF
    assert root.read(3, 0, 2) == 0xFFFF


def test_other_buses_are_empty(root: Root) -> None:
    root.bus.plug(0, HostFunction())
    root.select(0, 0, bus=1)

    assert root.bridge.read(DATA, 4) == 0xFFFF_FFFF


def test_without_the_enable_bit_nothing_answers(root: Root) -> None:
    root.bus.plug(0, HostFunction())
    root.bridge.write(ADDRESS, 4, 0)

    assert root.bridge.read(DATA, 4) == 0xFFFF_FFFF


def test_the_address_register_takes_only_dwords(root: Root) -> None:
    root.bridge.write(ADDRESS, 4, 0xFFFF_FFFF)
    assert root.bridge.read(ADDRESS, 4) == 0x80FF_FFFC

    root.bridge.write(ADDRESS, 2, 0)
    root.bridge.write(3, 1, 1)

    assert root.bridge.read(ADDRESS, 4) == 0x80FF_FFFC


def test_the_reset_control_register_resets_on_a_rising_edge(root: Root) -> None:
    root.bridge.write(RESET_CONTROL, 1, 0x02)
    assert root.resets == 0

    root.bridge.write(RESET_CONTROL, 1, 0x06)
    root.bridge.write(RESET_CONTROL, 1, 0x06)

    assert root.resets == 1
    assert root.bridge.read(RESET_CONTROL, 1) == 0x06


def test_identity_cannot_be_written(root: Root) -> None:
    root.bus.plug(2, PciFunction(IDENTITY))
    before = [root.read(2, register) for register in (0x00, 0x08, 0x2C)]

    for register in (0x00, 0x08, 0x2C):
        root.write(2, register, 0xFFFF_FFFF)

    assert [root.read(2, register) for register in (0x00, 0x08, 0x2C)] == before


def test_bytes_and_words_reach_their_part_of_a_register(root: Root) -> None:
    root.bus.plug(2, PciFunction(IDENTITY, interrupt_pin=1))
    root.write(2, space.INTERRUPT_LINE, 0x0B, 1)

    assert root.read(2, space.INTERRUPT_LINE, 1) == 0x0B
    assert root.read(2, space.INTERRUPT_PIN, 1) == 1
    assert root.read(2, space.SUBSYSTEM_ID, 2) == 2


def test_a_base_address_register_tells_its_size(root: Root) -> None:
    function = PciFunction(IDENTITY)
    function.add_bar(0, Bar(BarKind.IO, 0x40, TestRegister(0x40)))
    function.add_bar(1, Bar(BarKind.MEMORY32, 0x1000, TestRegister(0x1000)))
    function.add_bar(2, Bar(BarKind.MEMORY64, 0x4000, TestRegister(0x4000)))
    root.bus.plug(2, function)

    sizes = []
    for register in range(6):
        root.write(2, space.BARS + 4 * register, 0xFFFF_FFFF)
        sizes.append(root.read(2, space.BARS + 4 * register))

    assert sizes == [0xFFFF_FFC1, 0xFFFF_F000, 0xFFFF_C004, 0xFFFF_FFFF, 0, 0]


def test_a_region_appears_where_the_guest_puts_it(root: Root) -> None:
    function = PciFunction(IDENTITY)
    function.add_bar(0, Bar(BarKind.MEMORY32, 0x1000, TestRegister(0x1000)))
    root.bus.plug(2, function)

    root.write(2, space.BARS, 0xC000_0000)
    assert root.vm.mmio.regions() == []
    root.write(2, space.COMMAND, space.COMMAND_MEMORY, 2)
    assert root.vm.mmio.regions() == [(0xC000_0000, 0x1000)]
    root.write(2, space.BARS, 0xC100_0000)
    assert root.vm.mmio.regions() == [(0xC100_0000, 0x1000)]
    root.write(2, space.COMMAND, 0, 2)

    assert root.vm.mmio.regions() == []


def test_a_port_region_moves_too(root: Root) -> None:
    function = PciFunction(IDENTITY)
    function.add_bar(0, Bar(BarKind.IO, 0x20, TestRegister(0x20)))
    root.bus.plug(2, function)

    root.write(2, space.BARS, 0xC001)
    root.write(2, space.COMMAND, space.COMMAND_IO, 2)

    assert root.vm.ports.regions() == [(0xC000, 0x20)]


def test_a_region_on_top_of_another_stays_away(root: Root) -> None:
    root.vm.map_mmio(0xC000_0000, 0x1000, TestRegister(0x1000))
    function = PciFunction(IDENTITY)
    function.add_bar(0, Bar(BarKind.MEMORY32, 0x2000, TestRegister(0x2000)))
    root.bus.plug(2, function)

    root.write(2, space.BARS, 0xC000_0000)
    root.write(2, space.COMMAND, space.COMMAND_MEMORY, 2)
    assert root.vm.mmio.regions() == [(0xC000_0000, 0x1000)]
    root.write(2, space.BARS, 0xC000_2000)

    assert root.vm.mmio.regions() == [(0xC000_0000, 0x1000), (0xC000_2000, 0x2000)]


def test_two_regions_can_swap_places(root: Root) -> None:
    function = PciFunction(IDENTITY)
    first, second = TestRegister(0x1000), TestRegister(0x1000)
    function.add_bar(0, Bar(BarKind.MEMORY32, 0x1000, first))
    function.add_bar(1, Bar(BarKind.MEMORY32, 0x1000, second))
    root.bus.plug(2, function)
    root.write(2, space.COMMAND, space.COMMAND_MEMORY, 2)
    root.write(2, space.BARS, 0xC000_0000)
    root.write(2, space.BARS + 4, 0xC000_1000)

    root.write(2, space.COMMAND, 0, 2)
    root.write(2, space.BARS, 0xC000_1000)
    root.write(2, space.BARS + 4, 0xC000_0000)
    root.write(2, space.COMMAND, space.COMMAND_MEMORY, 2)
    root.vm.mmio.write(0xC000_1000, 1, 0x77)

    assert first.read(0, 1) == 0x77


def test_unplugging_takes_the_regions_away(root: Root) -> None:
    function = PciFunction(IDENTITY)
    function.add_bar(0, Bar(BarKind.MEMORY32, 0x1000, TestRegister(0x1000)))
    root.bus.plug(2, function)
    root.write(2, space.BARS, 0xC000_0000)
    root.write(2, space.COMMAND, space.COMMAND_MEMORY, 2)

    root.bus.unplug_all()

    assert root.vm.mmio.regions() == []
    assert root.bus.functions() == {}


def test_a_place_is_taken_only_once(root: Root) -> None:
    root.bus.plug(2, PciFunction(IDENTITY))

    with pytest.raises(ValueError, match=r"02\.0 does not exist or is taken"):
        root.bus.plug(2, PciFunction(IDENTITY))
    with pytest.raises(ValueError, match="does not exist"):
        root.bus.plug(32, PciFunction(IDENTITY))


def test_every_register_survives_every_write(root: Root) -> None:
    function = PciFunction(IDENTITY)
    function.add_bar(0, Bar(BarKind.MEMORY64, 0x1000, TestRegister(0x1000)))
    function.add_bar(4, Bar(BarKind.IO, 0x20, TestRegister(0x20)))
    root.bus.plug(2, function)
    for register in range(0, 256, 4):
        for value in (0, 0xFFFF_FFFF, 0x8000_0000, 0x5555_5555):
            root.write(2, register, value)
            assert 0 <= root.read(2, register) <= 0xFFFF_FFFF


def test_a_framebuffer_moves_with_its_bar(root: Root) -> None:
    memory = root.memory
    function = PciFunction(IDENTITY)
    ram = memory.device_ram(0x10_0000)
    function.add_bar(0, Bar(BarKind.MEMORY32, 0x10_0000, ram=ram, prefetchable=True))
    root.bus.plug(2, function)
    ram.write(4, b"ab")

    root.write(2, space.BARS, 0xFFFF_FFFF)
    assert root.read(2, space.BARS) == 0xFFF0_0008
    root.write(2, space.BARS, 0xE000_0000)
    assert memory.ranges == [(0, 0x1000)]
    root.write(2, space.COMMAND, space.COMMAND_MEMORY, 2)
    assert memory.read(0xE000_0004, 2) == b"ab"
    root.write(2, space.BARS, 0xF000_0000)
    assert memory.ranges == [(0, 0x1000), (0xF000_0000, 0x10_0000)]
    root.bus.unplug_all()
    assert memory.ranges == [(0, 0x1000)]


def test_an_expansion_rom_shows_once_it_is_enabled(root: Root) -> None:
    memory = root.memory
    function = PciFunction(IDENTITY)
    rom = memory.device_ram(0x1_0000)
    rom.write(0, b"\x55\xaa")
    function.add_rom(rom)
    root.bus.plug(2, function)

    root.write(2, space.EXPANSION_ROM, 0xFFFF_FFFE)
    assert root.read(2, space.EXPANSION_ROM) == 0xFFFF_0000
    root.write(2, space.EXPANSION_ROM, 0xFEB0_0001)
    assert memory.ranges == [(0, 0x1000)]
    root.write(2, space.COMMAND, space.COMMAND_MEMORY, 2)
    assert memory.read(0xFEB0_0000, 2) == b"\x55\xaa"
    memory.write(0xFEB0_0000, b"xx")
    assert rom.read(0, 2) == b"\x55\xaa"
    root.write(2, space.EXPANSION_ROM, 0xFEB0_0000)
    assert memory.ranges == [(0, 0x1000)]


@pytest.mark.parametrize("base", [0, 0x1000, 0xFFFF_F000])
def test_memory_on_top_of_other_memory_is_not_seen(root: Root, base: int) -> None:
    function, other = PciFunction(IDENTITY), PciFunction(IDENTITY)
    for slot, plugged in ((2, function), (3, other)):
        plugged.add_bar(0, Bar(BarKind.MEMORY32, 0x1000, ram=root.memory.device_ram(0x1000)))
        root.bus.plug(slot, plugged)
        root.write(slot, space.COMMAND, space.COMMAND_MEMORY, 2)
        root.write(slot, space.BARS, base)
    assert len(root.memory.ranges) == (2 if base else 1)
    root.bus.unplug_all()
    assert len(root.memory.ranges) == 1
