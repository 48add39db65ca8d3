"""A board's registers written in any order: configuration space, fw_cfg with DMA, flash, PAM, power management, hot plug.

`python -m tests.fuzz.board --seconds N --seed S`. The board is whole, on real guest memory, and nothing a guest writes may
raise, or leave anything on the buses when the board is gone. Cards and vCPUs come and go meanwhile. A failure prints the seed that repeats it.
"""

import random
import sys
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

from innkeeper import _core
from innkeeper.bus import Bus, Buses, ones
from innkeeper.devices.pci import Bar, BarKind, PciDevice, PciFunction, PciIdentity, PciSite
from innkeeper.devices.pci import config_space as space
from innkeeper.devices.testdev import TestRegister
from innkeeper.errors import HostError
from innkeeper.machine.backplane import Backplane, Plugged
from innkeeper.machine.vcpu_sockets import VcpuSockets
from innkeeper.memory import GuestMemory, Ram
from innkeeper.platforms import PcBoard, Surroundings
from innkeeper.platforms.pc import PORTS, ram_ranges
from innkeeper.platforms.pc_start import FirmwareStart
from innkeeper.testing import FakeClock
from tests.fuzz import rounds

MEMORY_MIB = 4
STEPS = 400
VALUES = (0, 1, 0x33, 0x10, 0x80, 0xFF, 0xE8, 0xD0, 0x20, 0x40, 0xFFFF_FFFF, 0xFFFF_FFF0, 0xE000_0000, 0xFEE0_0000)
SIZES = (1, 2, 4)
MOST_CARDS = 6
MOST_VCPUS = 4


class Store:
    """Flash that nobody keeps."""

    def __init__(self) -> None:
        self.content = bytearray(b"\xff" * 0x2000)

    def write(self, offset: int, data: bytes) -> None:
        self.content[offset : offset + len(data)] = data

    def sync(self) -> None: ...


class Wires:
    """Buses that can be driven from here, with the memory of a real machine that nobody runs."""

    def __init__(self, memory: _core.Memory) -> None:
        self.ports, self.mmio = Bus(), Bus()
        self.map_ports, self.unmap_ports = self.ports.map, self.ports.unmap
        self.map_mmio, self.unmap_mmio = self.mmio.map, self.mmio.unmap
        self._vm = _core.Vm("interp", memory, MOST_VCPUS)
        self.set_plugged = self._vm.set_plugged
        self.unmap_ram = self._vm.unmap_ram
        self.fabric = self._vm.fabric

    def map_ram(
        self, gpa: int, ram: Ram, /, *, offset: int = 0, size: int | None = None, read_only: bool = False
    ) -> None:
        assert isinstance(ram, _core.Ram)
        self._vm.map_ram(gpa, ram, offset=offset, size=size, read_only=read_only)

    def set_irq(self, gsi: int, level: bool, /) -> None: ...


class Card(Plugged):
    """A function with a region of every kind and a ROM."""

    def __init__(self, memory: GuestMemory) -> None:
        self.slot: PciDevice | None = self
        self._ram, self._rom = memory.device_ram(0x1_0000), memory.device_ram(0x1000)

    def function(self, _site: PciSite, /) -> PciFunction:
        function = PciFunction(PciIdentity(vendor=0x1AF4, device=0x1000, class_code=0x020000), interrupt_pin=1)
        function.add_bar(0, Bar(BarKind.IO, 0x40, TestRegister(0x40)))
        function.add_bar(1, Bar(BarKind.MEMORY32, 0x1_0000, ram=self._ram, prefetchable=True))
        function.add_bar(2, Bar(BarKind.MEMORY64, 0x4000, TestRegister(0x4000)))
        function.add_bar(4, Bar(BarKind.MEMORY64, 0x1_0000, ram=self._ram))
        function.add_rom(self._rom)
        return function


class Nobody:
    """Console, control, and the threads of vCPUs that run none."""

    def plug(self, _index: int, prepare: Callable[[], None], /) -> bool:
        prepare()
        return True

    def unplug(self, index: int, /) -> None: ...
    def wait_for_end(self, index: int, /) -> None: ...

    def write(self, data: bytes, /) -> None: ...
    def power_off(self) -> None: ...
    def suspend(self) -> None: ...
    def wake(self) -> None: ...
    def reset(self) -> None: ...
    def leave(self, status: int, /) -> None: ...


def drive(seed: int, memory: _core.Memory) -> None:
    """One board, a few hundred accesses, and the end."""
    dice, wires, nobody = random.Random(seed), Wires(memory), Nobody()
    before = memory.ranges
    buses: Buses = wires
    backplane = Backplane([Card(memory), Card(memory)])
    start = FirmwareStart(
        rom=bytes(0x2_0000), variables=Store(), log=lambda _: None, uuid=UUID(int=1), serial_port=0x3F8
    )
    sockets = VcpuSockets(MOST_VCPUS, 2)
    start_or_not = start if dice.random() < 0.8 else None

    def make(slots: tuple[PciDevice | None, ...]) -> PcBoard:
        around = Surroundings(
            buses=buses,
            memory=memory,
            clock=FakeClock(),
            console=nobody,
            control=nobody,
            slots=slots,
            backplane=backplane,
            sockets=sockets,
        )
        return PcBoard(around, memory_mib=MEMORY_MIB, vcpus=MOST_VCPUS, start=start_or_not, test_devices=True)

    board = backplane.build(make, wakes=False)
    sockets.connect(wires, lambda _index: None, board.processors.registers)
    sockets.begin(nobody)
    for _ in range(STEPS):
        dice.choice((configure, transfer, flash, poke, hotplug, processors))(dice, wires, memory)
        if dice.random() < 0.05:
            change(dice, backplane, sockets, memory)
        assert 0 in sockets.plugged <= frozenset(range(MOST_VCPUS))
    backplane.disconnect()
    sockets.disconnect()
    board.unplug()
    backplane.close()
    left = (wires.ports.regions(), wires.mmio.regions(), memory.ranges)
    assert left == ([], [], before), f"left behind: {left}"


def value(dice: random.Random) -> int:
    return dice.choice(VALUES) if dice.random() < 0.6 else dice.getrandbits(32)


def configure(dice: random.Random, wires: Wires, _memory: _core.Memory) -> None:
    slot, function = dice.choice(((0, 0), (1, 0), (1, 3), (2, 0), (3, 0), (dice.randrange(32), dice.randrange(8))))
    register = dice.choice(
        (space.COMMAND, 0x59, 0x5A, 0x60, 0x40, 0x80, 0x30, *range(0x10, 0x28, 4), dice.randrange(256))
    )
    wires.ports.write(0xCF8, 4, 1 << 31 | slot << 11 | function << 8 | register & 0xFC)
    at, size = 0xCFC + (register & 3), dice.choice(SIZES)
    wires.ports.read(at, size)
    wires.ports.write(at, size, value(dice) & ones(size))


def transfer(dice: random.Random, wires: Wires, memory: _core.Memory) -> None:
    base, _ = PORTS["fw_cfg"]
    key = dice.choice((0, 1, 2, 5, 0x0E, 0x19, 0x8002, *range(0x20, 0x2C), dice.getrandbits(16)))
    if dice.random() < 0.5:
        wires.ports.write(base, 2, key)
        for _ in range(dice.randrange(8)):
            wires.ports.read(base + dice.randrange(12), dice.choice(SIZES))
        return
    at = dice.choice((0x1000, 0x9_FFFC, 0xF_0000, (MEMORY_MIB << 20) - 8, dice.getrandbits(36)))
    control = dice.getrandbits(5) | key << 16
    length = dice.choice((0, 1, 64, 0x1_0000, (1 << 22) + 1, 0xFFFF_FFFF))
    target = dice.choice((0x2000, at, 0xE_FFFF, (MEMORY_MIB << 20) - 1, dice.getrandbits(64)))
    request = control.to_bytes(4, "big") + length.to_bytes(4, "big") + target.to_bytes(8, "big")
    with suppress(ValueError):  # a request that is not in memory is asked for all the same
        memory.write(at, request)
    wires.ports.write(base + 4, 4, int.from_bytes((at >> 32).to_bytes(4, "big"), "little"))
    wires.ports.write(base + 8, 4, int.from_bytes((at & 0xFFFF_FFFF).to_bytes(4, "big"), "little"))


def hotplug(dice: random.Random, wires: Wires, _memory: _core.Memory) -> None:
    base, _ = PORTS["pci hotplug"]
    at, size = base + dice.choice((0, 4, 8, 8, 8, dice.randrange(16))), dice.choice((*SIZES, 4))
    wires.ports.read(at, size)
    wires.ports.write(at, size, dice.choice((1 << dice.randrange(32), 0x1C, value(dice))) & ones(size))
    wires.ports.write(0x60C + dice.randrange(4), dice.choice(SIZES), value(dice) & 0xFF)


def processors(dice: random.Random, wires: Wires, _memory: _core.Memory) -> None:
    base, span = PORTS["cpu hotplug"]
    index = dice.choice((*range(MOST_VCPUS + 1), dice.randrange(64)))
    at = base + dice.choice((4 * index, 4 * index, 4 * index, dice.randrange(span)))
    size = dice.choice((*SIZES, 4, 4))
    wires.ports.read(at, size)
    wires.ports.write(at, size, dice.choice((8, 2, 4, 0x1_0310, 0x82_0310, value(dice))) & ones(size))


def change(dice: random.Random, backplane: Backplane, sockets: VcpuSockets, memory: _core.Memory) -> None:
    """What a host does, while the guest does not care."""
    with suppress(HostError):  # it gives none back
        sockets.set_count(dice.randint(1, MOST_VCPUS), patience_s=0)
    there = backplane.contents()
    if there and dice.random() < 0.6:
        backplane.ask_for(dice.choice(there))
    elif len(there) < MOST_CARDS:
        backplane.plug(Card(memory))


def flash(dice: random.Random, wires: Wires, _memory: _core.Memory) -> None:
    base, size = (1 << 32) - 0x2_0000 - 0x2000, dice.choice((*SIZES, 8))
    at = base + dice.randrange(0x2000)
    wires.mmio.write(at, size, value(dice) & ones(size))
    wires.mmio.read(at, size)


def poke(dice: random.Random, wires: Wires, _memory: _core.Memory) -> None:
    at, size = dice.choice((0xC_0000, 0xD_4000, 0xF_FFFD)), dice.choice(SIZES)
    wires.mmio.write(at, size, value(dice) & ones(size))
    port = dice.choice((0x92, 0x402, 0x600, 0x604, 0x60C, 0xCF9, 0x70, 0x71, dice.getrandbits(16)))
    wires.ports.read(port, size)
    wires.ports.write(port, size, value(dice) & ones(size))


def main() -> int:
    asked, memory = rounds.options(__doc__), _core.Memory(ram_ranges(MEMORY_MIB))
    done = rounds.run("board", asked, lambda seed: drive(seed, memory))
    print(f"board: {done} boards, {STEPS} accesses each, without a fault")
    return 0


if __name__ == "__main__":
    sys.exit(main())
