"""The AHCI controller's configuration space: its region, and its interrupts by pin or message."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper import _core
from innkeeper.devices.ata import Ahci
from innkeeper.devices.ata.ahci import MSI, MSI_ADDRESS, MSI_CONTROL, MSI_DATA
from innkeeper.devices.pci import PciFunction, PciSite
from innkeeper.devices.pci.config_space import BARS, COMMAND
from innkeeper.memory import FlatMemory
from innkeeper.testing import ScriptedVm

MEMORY, MASTER = 2, 4
BASE, LINE = 0xF000_0000, 20
CONTROL, STATUS, PORT = 4, 8, 0x100
INTERRUPT_ENABLE, LINK_ERROR = PORT + 0x14, PORT + 0x30
CONNECT = 1 << 6


@pytest.fixture
def vm() -> ScriptedVm:
    return ScriptedVm(FlatMemory([(0, 0x1000)]))


@pytest.fixture
def function(vm: ScriptedVm, tmp_path: Path) -> Iterator[PciFunction]:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    disk = _core.Disk(image)
    ahci = Ahci([_core.AtaDrive(disk, serial="S", model="M")])
    memory, line = _core.Memory([(0, 0x10000)]), vm.fabric.line(LINE)
    function = ahci.function(PciSite(slot=4, memory=memory, buses=vm, intx=line))
    function.plug(vm)
    function.write_config(BARS + 4 * 5, 4, BASE)
    function.write_config(COMMAND, 2, MEMORY | MASTER)
    yield function
    function.unplug()
    disk.close()


def test_the_region_has_six_ports(vm: ScriptedVm, function: PciFunction) -> None:
    assert vm.mmio.regions() == [(BASE, 0x1000)]
    assert vm.mmio.read(BASE + 0x0C, 4) == 0x3F
    assert vm.mmio.read(BASE + PORT + 0x28, 4) == 0x123
    function.write_config(COMMAND, 2, 0)
    assert vm.mmio.regions() == []


def test_a_cause_drives_the_pin_until_it_is_cleared(vm: ScriptedVm, function: PciFunction) -> None:
    vm.mmio.write(BASE + CONTROL, 4, 2)
    vm.mmio.write(BASE + INTERRUPT_ENABLE, 4, CONNECT)
    assert vm.gsis[LINE]
    function.write_config(COMMAND, 2, MEMORY | MASTER | 1 << 10)
    assert not vm.gsis[LINE]
    function.write_config(COMMAND, 2, MEMORY | MASTER)
    assert vm.gsis[LINE]
    vm.mmio.write(BASE + LINK_ERROR, 4, 0xFFFF_FFFF)
    vm.mmio.write(BASE + STATUS, 4, 1)
    assert not vm.gsis[LINE]


def test_msi_sends_messages_instead(vm: ScriptedVm, function: PciFunction) -> None:
    assert function.read_config(0x34, 1) == MSI
    assert function.read_config(MSI, 1) == 5
    function.write_config(MSI_ADDRESS, 4, 0xFEE0_1000)
    function.write_config(MSI_DATA, 2, 0x4023)
    function.write_config(MSI_CONTROL, 2, 1)
    vm.mmio.write(BASE + CONTROL, 4, 2)
    vm.mmio.write(BASE + INTERRUPT_ENABLE, 4, CONNECT)
    assert vm.messages[-1] == (0xFEE0_1000, 0x4023)
    assert not vm.gsis.get(LINE)
