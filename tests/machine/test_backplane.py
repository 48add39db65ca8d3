"""Which device is in which slot, without a board."""

import pytest

from innkeeper.devices.pci import PciDevice, PciFunction, PciIdentity, PciSite
from innkeeper.errors import ConfigError, HostError
from innkeeper.machine.backplane import FIXED, Backplane, Place, Plugged, arranged


class Fixed:
    def function(self, _site: PciSite, /) -> PciFunction:
        return PciFunction(PciIdentity(vendor=0x1AF4, device=1, class_code=0))


class Card(Plugged):
    def __init__(self, name: str, pci_slot: int | None = None) -> None:
        self._name, self.pci_slot = name, pci_slot
        self.slot: PciDevice | None = Fixed()

    @property
    def name(self) -> str:
        return self._name


def names(places: list[Place]) -> list[str | None]:
    return list(Backplane(places).layout())


def test_devices_are_in_the_order_in_which_they_are_given() -> None:
    assert names(arranged([Fixed(), Card("a"), Fixed()], None)) == [FIXED, "a", FIXED]


def test_those_with_an_address_are_there_and_the_others_around_them() -> None:
    places: list[Place] = [Fixed(), Card("a", pci_slot=3), Card("b"), Card("c", pci_slot=7), Fixed(), Card("d")]
    assert names(arranged(places, None)) == [FIXED, "a", "b", FIXED, "d", "c"]
    assert names(arranged([Card("a", pci_slot=4)], None)) == [None, None, "a"]
    with pytest.raises(ConfigError, match="a and b are both to be in PCI slot 4"):
        arranged([Card("a", pci_slot=4), Card("b", pci_slot=4)], None)


def test_a_layout_puts_them_where_they_were() -> None:
    layout = ["b", None, FIXED, "a", None]
    places: list[Place] = [Fixed(), Card("a"), Card("b")]
    assert names(arranged(places, layout)) == layout
    assert names(arranged([*places, Card("new")], layout)) == [*layout, "new"]
    assert names(arranged([Fixed(), Card("a")], layout)) == [None, None, FIXED, "a", None]
    assert names(arranged([Card("a", pci_slot=5)], layout)) == [None, None, None, "a", None]
    with pytest.raises(ConfigError, match="a is to be in PCI slot 4, and was in slot 5 when"):
        arranged([Card("a", pci_slot=4)], layout)


def test_what_comes_later_takes_its_slot_or_the_first_free_one() -> None:
    backplane = Backplane([Fixed()])
    backplane.plug(Card("a", pci_slot=9))
    backplane.plug(Card("b"))
    with pytest.raises(HostError, match="PCI slot 9 of the machine is taken; slot 4 is free"):
        backplane.plug(Card("c", pci_slot=9))
    assert list(backplane.layout()) == [FIXED, "b", None, None, None, None, None, "a"]


def test_nothing_is_plugged_into_a_machine_that_has_ended_and_nothing_leaves_it() -> None:
    backplane, card = Backplane([]), Card("a")
    backplane.plug(card)
    backplane.close()
    assert not backplane.wait_until_gone(card, 10)
    with pytest.raises(HostError, match="has ended"):
        backplane.plug(Card("b"))
