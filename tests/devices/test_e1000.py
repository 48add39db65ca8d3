"""The configuration space of the 82540EM."""

import pytest

from innkeeper import _core
from innkeeper.devices.e1000 import E1000Slot
from innkeeper.devices.pci import PciSite
from innkeeper.devices.testdev import TestRegister
from innkeeper.engine.core import create_memory, create_vm

MAC = bytes.fromhex("525400000001")
BASE = 0xE000_0000


def test_the_card_is_where_the_guest_puts_it_and_gone_when_unplugged() -> None:
    link = _core.NetLink.user(MAC, loopback=False, name_servers=[], host_name=None, forwards=[])
    memory = create_memory([(0, 1 << 20)])
    vm = create_vm("interp", memory, 1)
    intx = _core.PciInterrupts(vm.fabric, 16).pin(2, 0)
    card = E1000Slot(link, MAC).function(PciSite(slot=2, memory=memory, buses=vm, intx=intx))
    card.plug(vm)
    assert card.read_config(0, 4) == 0x100E_8086
    assert card.read_config(0x3D, 1) == 1

    card.write_config(0x10, 4, BASE)
    card.write_config(0x04, 2, 7)

    with pytest.raises(ValueError, match=r"overlaps|claimed"):
        vm.map_mmio(BASE + 0x1_0000, 4, TestRegister(4))
    card.unplug()
    vm.map_mmio(BASE + 0x1_0000, 4, TestRegister(4))
    link.close()


def test_a_link_that_is_closed_takes_no_card() -> None:
    link = _core.NetLink.user(MAC, loopback=False, name_servers=[], host_name=None, forwards=[])
    card = _core.NetCard(link, MAC)
    assert card.up
    card.set_up(False)
    assert not card.up
    link.close()

    with pytest.raises(RuntimeError, match="closed"):
        _core.NetCard(link, MAC)
