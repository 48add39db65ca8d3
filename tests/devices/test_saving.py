"""Every chip, after any traffic at all: another one that takes its state on cannot be told from it."""

import random
from collections.abc import Callable

import pytest

from innkeeper.bus import Buses, Stateful
from innkeeper.bus.bus import Device
from innkeeper.devices import Uart
from innkeeper.devices.acpi_pm import AcpiPm
from innkeeper.devices.fw_cfg import FwCfg
from innkeeper.devices.i8042 import I8042
from innkeeper.devices.pci import HostBridge, PciBus
from innkeeper.devices.port92 import Port92
from innkeeper.devices.ps2.mouse import Click
from innkeeper.devices.rtc import Rtc
from innkeeper.devices.testdev import TestRegister
from innkeeper.memory import FlatMemory
from innkeeper.testing import FakeClock, FakeIrqLine, ScriptedVm

SEEDS = range(25)
STEPS = 150
FLASH_AT, FLASH_BYTES = 0x100_0000, 0x4000


class Nothing:
    """What a chip asks of the machine comes to nothing."""

    def power_off(self) -> None: ...
    def suspend(self) -> None: ...
    def wake(self) -> None: ...
    def reset(self) -> None: ...


class Words:
    """What a chip says."""

    def __init__(self) -> None:
        self.said = bytearray()

    def write(self, data: bytes, /) -> None:
        self.said += data


class Kept:
    """A flash's contents."""

    def __init__(self) -> None:
        self.content = bytearray(FLASH_BYTES)

    def write(self, offset: int, data: bytes) -> None:
        self.content[offset : offset + len(data)] = data

    def sync(self) -> None: ...


class Bench:
    """One chip with its surroundings, at a given time."""

    def __init__(self, now_ns: int = 0) -> None:
        self.clock = FakeClock()
        self.clock.advance(now_ns)
        self.lines = [FakeIrqLine(), FakeIrqLine()]
        self.words, self.control = Words(), Nothing()
        self.memory = FlatMemory([(0, 0x1_0000)])
        self.buses: Buses = ScriptedVm(self.memory)
        self.device: Device
        self.span = 8
        self.host: list[Callable[[random.Random], object]] = []

    def step(self, rng: random.Random) -> object:
        """A guest's access, or something from outside, or time passes."""
        what = rng.randrange(10)
        if what == 0:
            self.clock.advance(rng.choice((1, 100_000, 20_000_000, 1_500_000_000)))
        elif what == 1 and self.host:
            rng.choice(self.host)(rng)
        size = min(rng.choice((1, 1, 1, 2, 4)), self.span)
        offset = rng.randrange(self.span - size + 1)
        if rng.random() < 0.5:
            return self.device.read(offset, size)
        value = rng.randrange(1 << 8 * size)
        return self.device.write(offset, size, value if rng.random() < 0.7 else value & rng.randrange(1 << 8 * size))

    def levels(self) -> list[bool]:
        return [line.is_high() for line in self.lines]


def uart(bench: Bench) -> Device:
    chip = Uart(bench.lines[0], bench.words)
    bench.host = [lambda rng: chip.receive(rng.randbytes(rng.randrange(40))), lambda _: chip.receive_break()]
    return chip


def rtc(bench: Bench) -> Device:
    bench.span = 2
    return Rtc(bench.lines[0], bench.clock, {0x20: 7})


def acpi_pm(bench: Bench) -> Device:
    bench.span = 12
    chip = AcpiPm(bench.lines[0], bench.clock, bench.control)
    bench.host = [lambda _: chip.note_rtc_alarm()]
    return chip


def i8042(bench: Bench) -> Device:
    bench.span = 5
    chip = I8042(bench.lines[0], bench.lines[1], bench.clock, bench.control.reset)
    bench.host = [
        lambda rng: chip.key(rng.randrange(1, 128), rng.random() < 0.5),
        lambda rng: chip.mouse_moved(rng.randrange(-300, 300), rng.randrange(-300, 300), 1, Click(rng.randrange(8))),
    ]
    return chip


def fw_cfg(bench: Bench) -> Device:
    bench.span = 12
    return FwCfg(bench.memory, {3: b"abc"}, {"a": b"contents", "b": lambda: b"made"})


def host_bridge(bench: Bench) -> Device:
    return HostBridge(PciBus(bench.buses), bench.control.reset)


def port_92(bench: Bench) -> Device:
    bench.span = 1
    return Port92(bench.control.reset)


def register(_bench: Bench) -> Device:
    return TestRegister(8 + 4)


CHIPS = (uart, rtc, acpi_pm, i8042, fw_cfg, host_bridge, port_92, register)


@pytest.mark.parametrize("make", CHIPS, ids=lambda make: make.__name__)
def test_a_chip_goes_on_in_another(make: Callable[[Bench], Device]) -> None:
    for seed in SEEDS:
        rng, one = random.Random(seed), Bench()
        one.device = make(one)
        for _ in range(rng.randrange(STEPS)):
            one.step(rng)
        assert isinstance(one.device, Stateful)
        state = one.device.state()
        other = Bench(one.clock.monotonic_ns())
        other.device = make(other)
        assert isinstance(other.device, Stateful)
        other.device.restore(state)
        assert other.device.state() == state, seed
        assert other.levels() == one.levels(), seed
        same = random.Random()
        same.setstate(rng.getstate())
        for step in range(STEPS):
            assert other.step(same) == one.step(rng), (seed, step)
            assert other.levels() == one.levels(), (seed, step)
        assert other.device.state() == one.device.state(), seed
