"""The PIIX3's IDE function: what decodes its ports, and a drive behind them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper import _core
from innkeeper.devices.ata import Piix3Ide
from innkeeper.devices.ata.ide import TIMING
from innkeeper.devices.pci import PciFunction, PciSite
from innkeeper.devices.pci.config_space import BARS, COMMAND
from innkeeper.memory import FlatMemory
from innkeeper.testing import FakeIrqLine, ScriptedVm

IO, MASTER = 1, 4
PRIMARY, PRIMARY_CONTROL, SECONDARY = 0x1F0, 0x3F6, 0x170
IDENTIFY, READY, DRQ = 0xEC, 0x50, 0x08


@pytest.fixture
def vm() -> ScriptedVm:
    return ScriptedVm(FlatMemory([(0, 0x1000)]))


@pytest.fixture
def function(vm: ScriptedVm, tmp_path: Path) -> Iterator[PciFunction]:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    disk = _core.Disk(image)
    ide = Piix3Ide((_core.AtaDrive(disk, serial="S", model="M"), None), (None, None))
    function = ide.function(PciSite(slot=1, memory=_core.Memory([(0, 0x10000)]), buses=vm, intx=FakeIrqLine()))
    function.plug(vm)
    yield function
    function.unplug()
    disk.close()


def test_the_ports_are_there_while_the_function_decodes_them(vm: ScriptedVm, function: PciFunction) -> None:
    assert vm.ports.regions() == []
    function.write_config(COMMAND, 2, IO)
    assert [base for base, _ in vm.ports.regions()] == [SECONDARY, PRIMARY, 0x376, PRIMARY_CONTROL]
    function.write_config(TIMING + 2, 2, 0)
    assert [base for base, _ in vm.ports.regions()] == [PRIMARY, PRIMARY_CONTROL]
    function.write_config(BARS + 4 * 4, 4, 0xC001)
    assert (0xC000, 16) in vm.ports.regions()
    function.write_config(COMMAND, 2, 0)
    assert vm.ports.regions() == []


def test_a_drive_answers_behind_the_ports(vm: ScriptedVm, function: PciFunction) -> None:
    function.write_config(COMMAND, 2, IO | MASTER)
    assert vm.ports.read(PRIMARY + 7, 1) == READY
    vm.ports.write(PRIMARY + 7, 1, IDENTIFY)
    while not vm.ports.read(PRIMARY_CONTROL, 1) & DRQ:
        pass
    words = [vm.ports.read(PRIMARY, 2) for _ in range(256)]
    assert words[60] | words[61] << 16 == (1 << 20) // 512
    assert vm.gsis[14]
    assert vm.ports.read(PRIMARY + 7, 1) == READY
    assert not vm.gsis[14]
