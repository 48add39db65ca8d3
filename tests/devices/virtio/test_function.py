"""Configuration space of virtio functions, over the core's entropy device."""

import pytest

from innkeeper import _core
from innkeeper.devices.pci import PciSite
from innkeeper.devices.pci import config_space as space
from innkeeper.devices.virtio import VirtioSlot
from innkeeper.devices.virtio.function import VirtioFunction
from innkeeper.engine.core import create_memory, create_vm

PORTS, VECTORS, REGION = 0xC000, 0xE000_0000, 0xE001_0000
BUFFER, QUEUE = 0x8000, 0x4000


class Plugged:
    """The device in a slot of a machine whose processors stand still."""

    def __init__(self, *, transitional: bool = True) -> None:
        self.memory = create_memory([(0, 1 << 20)])
        self.vm = create_vm("interp", self.memory, 1)
        self.device = VirtioSlot(_core.VirtioDevice.rng(), transitional=transitional)
        self.function = self.power_on()

    def power_on(self) -> VirtioFunction:
        wires = _core.PciInterrupts(self.vm.fabric, 16)
        site = PciSite(slot=2, memory=self.memory, buses=self.vm, intx=wires.pin(2, 0))
        function = self.device.function(site)
        function.plug(self.vm)
        return function

    def capabilities(self) -> list[tuple[int, int]]:
        """Identifier and place of each."""
        found, at = [], self.function.read_config(0x34, 1)
        while at:
            found.append((self.function.read_config(at, 1), at))
            at = self.function.read_config(at + 1, 1)
        return found

    def part(self, kind: int) -> int:
        return next(
            at for number, at in self.capabilities() if number == 9 and self.function.read_config(at + 3, 1) == kind
        )

    def window(self, bar: int, offset: int, size: int) -> int:
        """Points the configuration access capability somewhere; gives the place of its data."""
        at = self.part(5)
        for register, value in ((4, bar), (8, offset), (12, size)):
            self.function.write_config(at + register, 1 if register == 4 else 4, value)
        return at + 16


@pytest.fixture
def plugged() -> Plugged:
    return Plugged()


def test_a_transitional_function_has_the_legacy_identity_and_ports(plugged: Plugged) -> None:
    assert plugged.function.read_config(0, 4) == 0x1005_1AF4
    assert plugged.function.read_config(space.SUBSYSTEM_VENDOR_ID, 4) == 0x0004_1AF4
    assert plugged.function.read_config(space.REVISION, 1) == 0
    assert plugged.function.read_config(space.BARS, 4) & 1


def test_a_modern_function_has_none_of_it() -> None:
    plugged = Plugged(transitional=False)

    assert plugged.function.read_config(0, 4) == 0x1044_1AF4
    assert plugged.function.read_config(space.REVISION, 1) == 1
    assert plugged.function.read_config(space.BARS, 4) == 0


def test_the_capabilities_lead_to_all_parts(plugged: Plugged) -> None:
    assert plugged.function.read_config(space.STATUS, 2) & 1 << 4
    assert [number for number, _ in plugged.capabilities()] == [0x11, 9, 9, 9, 9, 9]
    places = [(plugged.function.read_config(plugged.part(kind) + 8, 4)) for kind in (1, 3, 4, 2)]
    assert places == [0, 0x1000, 0x2000, 0x3000]
    notify = plugged.part(2)
    assert plugged.function.read_config(notify + 2, 1) == 20
    assert plugged.function.read_config(notify + 16, 4) == 4


def test_the_window_reaches_registers_without_a_region(plugged: Plugged) -> None:
    plugged.function.write_config(plugged.window(4, 0x14, 1), 1, 3)

    assert plugged.function.read_config(plugged.window(4, 0x14, 1), 1) == 3
    assert plugged.function.read_config(plugged.window(4, 0x12, 2), 2) == 1


@pytest.mark.parametrize(("bar", "offset", "size"), [(2, 0, 4), (4, 1 << 20, 4), (4, 2, 4), (4, 0, 3), (255, 0, 1)])
def test_a_window_that_shows_nothing_is_plain_memory(plugged: Plugged, bar: int, offset: int, size: int) -> None:
    data = plugged.window(bar, offset, size)
    plugged.function.write_config(data, 4, 0x1234)

    assert plugged.function.read_config(data, 4) == 0


def enable(plugged: Plugged) -> _core.Region:
    """Places the regions and gives the modern one."""
    for bar, base in ((0, PORTS), (1, VECTORS), (4, REGION)):
        plugged.function.write_config(space.BARS + 4 * bar, 4, base)
    plugged.function.write_config(space.COMMAND, 2, 7)
    region, _ = plugged.function._core.region("modern")
    return region


def ask_for_bytes(plugged: Plugged, region: _core.Region) -> None:
    region.write(0x14, 1, 3)
    region.write(0x08, 4, 1)
    region.write(0x0C, 4, 1)
    region.write(0x14, 1, 11)
    assert region.read(0x14, 1) == 11
    region.write(0x18, 2, 8)
    for register, gpa in ((0x20, QUEUE), (0x28, QUEUE + 0x1000), (0x30, QUEUE + 0x2000)):
        region.write(register, 4, gpa)
    region.write(0x1C, 2, 1)
    region.write(0x14, 1, 15)
    plugged.memory.write(QUEUE, BUFFER.to_bytes(8, "little") + (32).to_bytes(4, "little") + b"\2\0\0\0")
    plugged.memory.write(QUEUE + 0x1000, b"\0\0\1\0\0\0")
    region.write(0x3000, 2, 0)


def test_a_driver_gets_its_bytes_and_the_wire_rises(plugged: Plugged) -> None:
    region = enable(plugged)
    ask_for_bytes(plugged, region)
    while plugged.memory.read(QUEUE + 0x2002, 2) == b"\0\0":
        pass
    while region.read(0x1000, 1) == 0:
        pass

    assert plugged.memory.read(BUFFER, 32) != bytes(32)


def test_a_device_starts_afresh_with_every_power_on(plugged: Plugged) -> None:
    ask_for_bytes(plugged, enable(plugged))
    plugged.function.unplug()
    plugged.function = plugged.power_on()
    region = enable(plugged)

    assert region.read(0x14, 1) == 0
    plugged.memory.write(QUEUE, bytes(0x3000))
    ask_for_bytes(plugged, region)
    while plugged.memory.read(QUEUE + 0x2002, 2) == b"\0\0":
        pass
