"""The south bridge: where interrupts are led, and where the ACPI registers are."""

from innkeeper.devices.pci import config_space as space
from innkeeper.devices.pci.piix import PIRQ_ROUTES, PM_BASE, PM_MISC, IsaBridge, PowerManagement
from innkeeper.devices.testdev import TestRegister
from innkeeper.memory import FlatMemory
from innkeeper.testing import ScriptedVm


class Wires:
    def __init__(self) -> None:
        self.routes: dict[int, int | None] = {}

    def route(self, pirq: int, irq: int | None, /) -> None:
        self.routes[pirq] = irq


def test_a_pirq_leads_nowhere_until_firmware_routes_it() -> None:
    wires = Wires()
    bridge = IsaBridge(wires)
    assert wires.routes == dict.fromkeys(range(4))
    assert bridge.read_config(PIRQ_ROUTES, 4) == 0x8080_8080

    bridge.write_config(PIRQ_ROUTES, 4, 0x0B0B_0A0A)
    assert wires.routes == {0: 10, 1: 10, 2: 11, 3: 11}
    bridge.write_config(PIRQ_ROUTES + 1, 1, 0x8A)
    assert wires.routes == {0: 10, 1: None, 2: 11, 3: 11}


def test_interrupts_that_are_taken_cannot_be_routed_to() -> None:
    wires = Wires()
    bridge = IsaBridge(wires)
    for irq in (0, 1, 2, 8, 13):
        bridge.write_config(PIRQ_ROUTES, 1, irq)
        assert wires.routes[0] is None
    bridge.write_config(PIRQ_ROUTES, 1, 0xFF)
    assert bridge.read_config(PIRQ_ROUTES, 1) == 0x8F


def test_firmware_moves_the_acpi_registers() -> None:
    vm = ScriptedVm(FlatMemory([(0, 0x1000)]))
    function = PowerManagement(TestRegister(64), base=0x600, sci=9)
    function.plug(vm)
    assert vm.ports.regions() == [(0x600, 64)]
    assert function.read_config(space.INTERRUPT_LINE, 1) == 9
    assert function.read_config(PM_BASE, 4) == 0x601

    function.write_config(PM_BASE, 4, 0xB001)
    assert (vm.ports.regions(), function.base) == ([(0xB000, 64)], 0xB000)
    function.write_config(PM_MISC, 1, 0)
    assert vm.ports.regions() == []
    function.write_config(PM_MISC, 1, 1)
    function.unplug()
    assert vm.ports.regions() == []


def test_acpi_registers_on_top_of_other_ports_are_not_seen() -> None:
    vm = ScriptedVm(FlatMemory([(0, 0x1000)]))
    vm.map_ports(0x3F8, 8, TestRegister(8))
    function = PowerManagement(TestRegister(64), base=0x3C0, sci=9)
    function.plug(vm)
    assert vm.ports.regions() == [(0x3F8, 8)]
    function.unplug()
