"""Every chip, after any traffic at all: another one that takes its state on cannot be told from it."""

import json
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from innkeeper import _core
from innkeeper.bus import Buses, Pausable, Stateful
from innkeeper.bus.bus import Device
from innkeeper.devices import Uart
from innkeeper.devices.acpi_pm import AcpiPm
from innkeeper.devices.ata import Ahci, Piix3Ide
from innkeeper.devices.e1000 import E1000Slot
from innkeeper.devices.fw_cfg import FwCfg
from innkeeper.devices.i8042 import I8042
from innkeeper.devices.pci import HostBridge, PciBus, PciFunction, PciSite
from innkeeper.devices.pflash import Flash
from innkeeper.devices.port92 import Port92
from innkeeper.devices.ps2.mouse import Click
from innkeeper.devices.rtc import Rtc
from innkeeper.devices.testdev import TestRegister
from innkeeper.devices.vga import Vga
from innkeeper.devices.virtio import VirtioSlot
from innkeeper.engine.core import create_memory, create_vm
from innkeeper.machine.state_file import _packed, _unpacked
from innkeeper.memory import FlatMemory
from innkeeper.testing import FakeClock, FakeIrqLine, ScriptedVm

SEEDS = range(25)
STEPS = 150
MAC = bytes.fromhex("525400000001")
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


class FlashBench:
    """UEFI's flash on a board of nothing else."""

    def __init__(self) -> None:
        self.memory, self.store = FlatMemory([(0, 1 << 20)]), Kept()
        self.store.content[:] = b"\xff" * FLASH_BYTES
        self.chip = Flash(ScriptedVm(self.memory), self.memory.device_ram(FLASH_BYTES), self.store, FLASH_AT)

    def step(self, rng: random.Random) -> object:
        commands = (0x20, 0xD0, 0x40, 0xE8, 0x70, 0x50, 0x90, 0xFF, rng.randrange(256))
        offset = rng.randrange(FLASH_BYTES - 4)
        if rng.random() < 0.3:
            return self.chip.read(offset, 4)
        return self.chip.write(offset, rng.choice((1, 2, 4)), rng.choice(commands))


def test_uefis_variables_go_on_in_another_flash() -> None:
    changed = 0
    for seed in SEEDS:
        rng, one, other = random.Random(seed), FlashBench(), FlashBench()
        for _ in range(rng.randrange(STEPS)):
            one.step(rng)
        state, [array] = plain(one.chip.state()), one.chip.memories().values()
        [there] = other.chip.memories().values()
        there.write(0, array.read(0, FLASH_BYTES))  # as the file's memories are, before
        other.chip.restore(state)
        assert other.store.content == one.store.content
        changed += other.store.content != b"\xff" * FLASH_BYTES
        same = random.Random()
        same.setstate(rng.getstate())
        for step in range(STEPS):
            assert other.step(same) == one.step(rng), (seed, step)
        assert (other.chip.state(), other.store.content) == (one.chip.state(), one.store.content)
        with pytest.raises(ValueError, match="another kind of flash"):
            other.chip.restore({**state, "mode": 1})
    assert changed > len(SEEDS) / 4, "the test tests nothing"


# ---- devices of the core ---------------------------------------------------------------------------


class CoreBench:
    """A PCI function whose inside is in Rust, on a board of nothing else. Its regions are reached directly."""

    def __init__(self, make: Callable[["CoreBench"], PciFunction], folder: Path) -> None:
        self.folder = folder
        self.memory = create_memory([(0, 1 << 20)])
        self.vm = create_vm("interp", self.memory, 1)
        intx = _core.PciInterrupts(self.vm.fabric, 16).pin(2, 0)
        self.site = PciSite(slot=2, memory=self.memory, buses=self.vm, intx=intx)
        self.function = make(self)
        self.function.plug(self.vm)
        self.regions = [bar.device for bar in self.function.bars().values() if bar.device is not None]

    def state(self) -> dict[str, object]:
        if isinstance(self.function, Pausable):
            self.function.pause()
        return self.function.state()

    def step(self, rng: random.Random) -> object:
        if rng.random() < 0.1:
            at = rng.randrange(4, 64)
            return self.function.write_config(at, 1, rng.randrange(256))
        region, size = rng.choice(self.regions), 4
        offset = 4 * (rng.randrange(64) if rng.random() < 0.8 else rng.randrange(1024))
        if rng.random() < 0.5:
            return region.read(offset, size)
        return region.write(offset, size, rng.randrange(1 << rng.choice((4, 16, 32))))


def vga(bench: CoreBench) -> PciFunction:
    return Vga(bench.memory).function(bench.site)


def e1000(bench: CoreBench) -> PciFunction:
    link = _core.NetLink.user(MAC, loopback=False, name_servers=[], host_name=None, forwards=[])
    return E1000Slot(link, MAC).function(bench.site)


def network_card(bench: CoreBench) -> PciFunction:
    link = _core.NetLink.user(MAC, loopback=False, name_servers=[], host_name=None, forwards=[])
    return VirtioSlot(_core.NetCard(link, MAC).device()).function(bench.site)


def entropy(bench: CoreBench) -> PciFunction:
    return VirtioSlot(_core.VirtioDevice.rng()).function(bench.site)


def balloon(bench: CoreBench) -> PciFunction:
    core = _core.VirtioBalloon()
    core.set_wanted(123 << 12)
    return VirtioSlot(core.device).function(bench.site)


def console(bench: CoreBench) -> PciFunction:
    core = _core.VirtioConsole(lambda _data: None)
    core.receive(b"typed ahead")
    core.set_size(100, 30)
    return VirtioSlot(core.device).function(bench.site)


def tablet(bench: CoreBench) -> PciFunction:
    return VirtioSlot(_core.VirtioInput("tablet").device).function(bench.site)


def graphics(bench: CoreBench) -> PciFunction:
    return VirtioSlot(_core.VirtioGpu().device).function(bench.site)


def shared_folder(bench: CoreBench) -> PciFunction:
    return VirtioSlot(_core.VirtioDevice.filesystem(bench.folder, "share")).function(bench.site)


def vsock(bench: CoreBench) -> PciFunction:
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "vm"
        listener.bind(str(path))
        listener.listen()
        return VirtioSlot(_core.VirtioDevice.vsock(3, path, listener.fileno())).function(bench.site)


def disk(bench: CoreBench) -> PciFunction:
    path = bench.folder / f"{len(list(bench.folder.iterdir()))}.virtio"
    path.write_bytes(bytes(1 << 20))
    return VirtioSlot(_core.VirtioDevice.blk(_core.Disk(path, format="raw"))).function(bench.site)


def drive(bench: CoreBench) -> _core.AtaDrive:
    path = bench.folder / f"{len(list(bench.folder.iterdir()))}.disk"
    path.write_bytes(bytes(1 << 20))
    return _core.AtaDrive(_core.Disk(path, format="raw"), serial="S", model="M")


def ahci(bench: CoreBench) -> PciFunction:
    return Ahci([drive(bench), None, _core.AtaDrive(_core.CdTray(), serial="T", model="C")]).function(bench.site)


def ide(bench: CoreBench) -> PciFunction:
    cdrom = _core.AtaDrive(_core.CdTray(), serial="T", model="C")
    return Piix3Ide((drive(bench), None), (cdrom, None)).function(bench.site)


VIRTIO = (network_card, entropy, balloon, console, tablet, graphics, shared_folder, vsock, disk)
CORE = (vga, e1000, ahci, ide, *VIRTIO)


@pytest.mark.parametrize("make", CORE, ids=lambda make: make.__name__)
def test_a_device_of_the_core_takes_on_anothers_state(make: Callable[[CoreBench], PciFunction], tmp_path: Path) -> None:
    for seed in range(6):
        rng, one, other = random.Random(seed), CoreBench(make, tmp_path), CoreBench(make, tmp_path)
        for _ in range(rng.randrange(300)):
            one.step(rng)
        try:
            state = plain(one.state())
        except BlockingIOError:
            continue  # in the middle of what only a guest can end
        other.state()
        other.function.switch_off()
        other.function.restore(state)
        assert without_counts(other.state()) == without_counts(one.state()), seed
        for bench in (one, other):
            bench.function.unplug()


@pytest.mark.parametrize("make", CORE, ids=lambda make: make.__name__)
def test_no_foreign_state_does_more_than_raise(make: Callable[[CoreBench], PciFunction], tmp_path: Path) -> None:
    bench = CoreBench(make, tmp_path)
    good, rng = plain(bench.state()), random.Random(5)
    for _ in range(150):
        bad = spoiled(good, rng)
        with suppress(ValueError, TypeError, OverflowError):
            bench.function.restore(bad)
        for _ in range(5):
            bench.step(rng)
        with suppress(BlockingIOError):
            bench.state()
    bench.function.unplug()


def without_counts(state: Any) -> Any:
    """Which reset it was is nothing that another device has to know."""
    if isinstance(state, dict):
        return {name: without_counts(value) for name, value in state.items() if name != "generation"}
    return [without_counts(value) for value in state] if isinstance(state, list) else state


def plain(state: object) -> Any:
    """As a file has it."""
    return json.loads(json.dumps(state, default=_packed), object_hook=_unpacked)


def spoiled(value: Any, rng: random.Random) -> Any:
    """The same with one thing changed, somewhere."""
    if isinstance(value, dict) and value:
        name = rng.choice(list(value))
        return {**value, name: spoiled(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        return [*value[:at], spoiled(value[at], rng), *value[at + 1 :]]
    if isinstance(value, bytes) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return value[:at] + bytes((rng.randrange(256),)) + value[at + 1 :]
    return rng.choice((None, True, -1, 0, 1, 0xFF, 0xFFFF, 1 << 31, (1 << 64) - 1, 1 << 64, "x", b"", [], {}))
