"""The pc board as a whole: its tables, and its chips where the tables say."""

from itertools import pairwise

import pytest

from innkeeper.bus import Bus
from innkeeper.devices.testdev import TestRegister
from innkeeper.firmware import MapKind
from innkeeper.memory import FlatMemory
from innkeeper.platforms import PcBoard, Surroundings, pc
from innkeeper.testing import FakeClock, ScriptedVm

MIB, GIB = 1 << 20, 1 << 30


class Outside:
    """Console and control that remember."""

    def __init__(self) -> None:
        self.data = b""
        self.asked: list[str] = []

    def write(self, data: bytes, /) -> None:
        self.data += data

    def power_off(self) -> None:
        self.asked.append("power off")

    def suspend(self) -> None:
        self.asked.append("suspend")

    def wake(self) -> None:
        self.asked.append("wake")

    def reset(self) -> None:
        self.asked.append("reset")

    def leave(self, status: int, /) -> None:
        self.asked.append(f"leave {status}")


class Assembled:
    def __init__(self, *, memory_mib: int = 512, vcpus: int = 1, test_devices: bool = False) -> None:
        self.memory = FlatMemory([(0, 0xA0000), (0xC0000, 0x40000)])
        self.vm = ScriptedVm(self.memory)
        self.outside, self.clock = Outside(), FakeClock()
        around = Surroundings(
            buses=self.vm, memory=self.memory, clock=self.clock, console=self.outside, control=self.outside
        )
        self.board = PcBoard(around, memory_mib=memory_mib, vcpus=vcpus, test_devices=test_devices)

    @property
    def ports(self) -> Bus:
        return self.vm.ports


@pytest.mark.parametrize(
    ("memory_mib", "high", "above"),
    [
        (2, MIB, 0),
        (512, 511 * MIB, 0),
        (3072, 3 * GIB - MIB, 0),
        (3073, 3 * GIB - MIB, MIB),
        (8192, 3 * GIB - MIB, 5 * GIB),
    ],
)
def test_ram_goes_around_the_holes(memory_mib: int, high: int, above: int) -> None:
    ranges = pc.ram_ranges(memory_mib)

    assert ranges[:3] == [(0, 640 * 1024), (0xC0000, 256 * 1024), (MIB, high)]
    assert ranges[3:] == ([(4 * GIB, above)] if above else [])


@pytest.mark.parametrize("memory_mib", [2, 512, 4096])
def test_the_memory_map_tells_only_of_ram_that_exists(memory_mib: int) -> None:
    entries = pc.memory_map(memory_mib)

    for entry in entries:
        backed = any(base <= entry.gpa and entry.end <= base + size for base, size in pc.ram_ranges(memory_mib))
        assert backed
    assert all(first.end <= second.gpa for first, second in pairwise(entries))
    low = pc.EXTENDED_BIOS_DATA[0] + memory_mib * MIB - MIB
    assert sum(entry.size for entry in entries if entry.kind is MapKind.RAM) == low


def test_the_tables_do_not_contradict_themselves() -> None:
    regions = Bus()
    for base, size in pc.PORTS.values():
        regions.map(base, size, TestRegister(size))
    for base in (0x20, 0x40, 0x61, 0xA0, 0x4D0):  # the engine's own
        assert not any(start <= base < start + size for start, size in regions.regions())
    assert len(set(pc.IRQS.values())) == len(pc.IRQS)


def test_com1_writes_to_the_console_and_interrupts_at_its_line() -> None:
    pc_board = Assembled()
    pc_board.ports.write(0x3F8, 1, ord("!"))
    pc_board.ports.write(0x3FC, 1, 0x08)
    pc_board.ports.write(0x3F9, 1, 0x01)
    pc_board.board.uart.receive(b"x")

    assert pc_board.outside.data == b"!"
    assert pc_board.vm.gsis[4]


@pytest.mark.parametrize(
    ("port", "size", "value", "asked"),
    [
        (0x64, 1, 0xFE, "reset"),
        (0xCF9, 1, 0x06, "reset"),
        (0x604, 2, 0x3400, "power off"),
        (0x604, 2, 0x2400, "suspend"),
        (0xF4, 1, 0x10, "leave 33"),
    ],
)
def test_a_guest_can_ask_for_the_end(port: int, size: int, value: int, asked: str) -> None:
    pc_board = Assembled(test_devices=True)

    pc_board.ports.write(port, size, value)

    assert pc_board.outside.asked == [asked]


def test_test_devices_are_there_only_if_asked_for() -> None:
    plain, testing = Assembled(), Assembled(test_devices=True)

    for port in (0xE0, 0xF4, 0x2000):
        assert plain.ports.read(port, 1) == 0xFF
        assert testing.ports.read(port, 1) == 0
    testing.ports.write(0x2005, 1, 1)
    testing.vm.mmio.write(0xFF00_0000, 4, 77)

    assert testing.vm.gsis[5]
    assert testing.vm.mmio.read(0xFF00_0000, 4) == 77


def test_the_power_button_raises_the_sci() -> None:
    pc_board = Assembled()
    pc_board.ports.write(0x602, 2, 1 << 8)

    pc_board.board.press_power_button()

    assert pc_board.vm.gsis[9]


def test_the_bridges_are_on_bus_0() -> None:
    ports = Assembled().ports
    found = {}
    for slot in range(32):
        ports.write(0xCF8, 4, 1 << 31 | slot << 11)
        if (identity := ports.read(0xCFC, 4)) != 0xFFFF_FFFF:
            found[slot] = identity

    assert found == {0: 0x1237_8086, 1: 0x7000_8086}


def test_the_clock_wakes_a_sleeping_guest_if_it_is_enabled_to() -> None:
    pc_board = Assembled()
    for index, value in ((0x01, 0xC0), (0x03, 0xC0), (0x05, 0xC0), (0x0B, 0x22)):  # an alarm every second
        pc_board.ports.write(0x70, 1, index)
        pc_board.ports.write(0x71, 1, value)
    pc_board.ports.write(0x602, 2, 1 << 10)
    pc_board.ports.write(0x604, 2, 0x2400)
    assert pc_board.outside.asked == ["suspend"]

    pc_board.clock.advance(10**9)

    assert pc_board.outside.asked == ["suspend", "wake"]
    assert pc_board.board.kept_over_sleep().woken_by == 1 << 10


def test_fw_cfg_knows_the_machine() -> None:
    ports = Assembled(memory_mib=8192, vcpus=3).ports
    ports.write(0x510, 2, 0x0005)
    assert [ports.read(0x511, 1) for _ in range(2)] == [3, 0]

    ports.write(0x510, 2, 0x0003)

    assert sum(ports.read(0x511, 1) << 8 * i for i in range(8)) == 8 * GIB


@pytest.mark.parametrize(
    ("memory_mib", "extended", "above_16", "above_4g"),
    [(2, 1024, 0, 0), (16, 15360, 0, 0), (512, 0xFFFF, 496 * 16, 0), (8192, 0xFFFF, 3056 * 16, 5120 * 16)],
)
def test_cmos_tells_the_memory_sizes(memory_mib: int, extended: int, above_16: int, above_4g: int) -> None:
    ram = pc.cmos(memory_mib, vcpus=4)

    assert ram[0x15] | ram[0x16] << 8 == 640
    assert ram[0x17] | ram[0x18] << 8 == ram[0x30] | ram[0x31] << 8 == extended
    assert ram[0x34] | ram[0x35] << 8 == above_16
    assert ram[0x5B] | ram[0x5C] << 8 | ram[0x5D] << 16 == above_4g
    assert ram[0x5F] == 3


def test_unplugging_leaves_empty_buses_and_quiet_lines() -> None:
    pc_board = Assembled(test_devices=True)
    pc_board.ports.write(0x602, 2, 1 << 8)
    pc_board.board.press_power_button()
    assert pc_board.ports.regions()
    assert pc_board.vm.gsis[9]

    pc_board.board.unplug()

    assert not any(pc_board.vm.gsis.values())

    assert pc_board.ports.regions() == []
    assert pc_board.vm.mmio.regions() == []
