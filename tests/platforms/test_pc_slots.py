"""Hot plug on the pc board: its registers as ACPI's methods use them, with no guest."""

from tests.platforms.test_pc import Outside

from innkeeper.devices.pci import PciFunction, PciIdentity, PciSite
from innkeeper.machine.backplane import Backplane, Plugged
from innkeeper.memory import FlatMemory
from innkeeper.platforms import KeptState, PcBoard, Surroundings
from innkeeper.testing import FakeClock, ScriptedVm

UP, DOWN, EJECT = 0xAE00, 0xAE04, 0xAE08
GPE_STATUS, GPE_ENABLE = 0x60C, 0x60E
SCI = 9
NOBODY = 0xFFFF_FFFF


class Part(Plugged):
    """A card that remembers how often it was powered on, and whether it was closed."""

    def __init__(self, number: int) -> None:
        self.slot = self
        self.number, self.powered, self.closed = number, 0, False

    def function(self, _site: PciSite, /) -> PciFunction:
        self.powered += 1
        return PciFunction(PciIdentity(vendor=0x1AF4, device=self.number, class_code=0x020000))

    def close(self) -> None:
        super().close()
        self.closed = True


class Rig:
    """A board with a card that stays, one that may go, and free slots."""

    def __init__(self) -> None:
        self.memory = FlatMemory([(0, 0xA0000), (0xC0000, 0x40000)])
        self.vm = ScriptedVm(self.memory)
        self.stays, self.goes = Part(0x1111), Part(0x2222)
        stays = self.stays
        self.backplane = Backplane([FixedCard(stays), self.goes])
        self.board = self.build(None)

    def build(self, kept: KeptState | None) -> PcBoard:
        outside = Outside()

        def make(slots: tuple[object, ...]) -> PcBoard:
            around = Surroundings(
                buses=self.vm,
                memory=self.memory,
                clock=FakeClock(),
                console=outside,
                control=outside,
                slots=slots,  # type: ignore[arg-type] # as the backplane has them
                backplane=self.backplane,
            )
            return PcBoard(around, memory_mib=512, vcpus=1, kept=kept)

        self.board = self.backplane.build(make, wakes=kept is not None and kept.hotplug is not None)
        return self.board

    def reset(self, *, sleeps: bool = False) -> None:
        kept = self.board.kept_over_sleep() if sleeps else self.board.kept_over_reset()
        self.backplane.disconnect()
        self.board.unplug()
        self.build(kept)

    def identity(self, slot: int) -> int:
        self.vm.ports.write(0xCF8, 4, 1 << 31 | slot << 11)
        return self.vm.ports.read(0xCFC, 4)

    def read(self, port: int) -> int:
        return self.vm.ports.read(port, 4)

    def eject(self, *slots: int) -> None:
        self.vm.ports.write(EJECT, 4, sum(1 << slot for slot in slots))


class FixedCard:
    """A device that nobody may take out."""

    def __init__(self, part: Part) -> None:
        self.function = part.function


def test_a_device_that_is_plugged_in_is_told_of_by_an_event_once() -> None:
    rig = Rig()
    rig.vm.ports.write(GPE_ENABLE, 2, 1 << 1)
    part = Part(0x3333)

    rig.backplane.plug(part)

    assert rig.vm.gsis[SCI]
    assert rig.vm.ports.read(GPE_STATUS, 2) == 1 << 1
    assert (rig.read(UP), rig.read(UP), rig.read(DOWN)) == (1 << 4, 0, 0)
    assert rig.identity(4) == 0x3333_1AF4
    rig.vm.ports.write(GPE_STATUS, 2, 1 << 1)
    assert not rig.vm.gsis[SCI]


def test_a_device_is_gone_when_the_guest_that_was_asked_for_it_ejects_it() -> None:
    rig = Rig()

    rig.backplane.ask_for(rig.goes)

    assert rig.read(DOWN) == 1 << 3
    assert rig.identity(3) == 0x2222_1AF4
    assert not rig.backplane.wait_until_gone(rig.goes, 0)
    rig.eject(3)
    assert rig.backplane.wait_until_gone(rig.goes, 0)
    assert rig.identity(3) == NOBODY
    assert rig.read(DOWN) == 0
    assert rig.goes.closed


def test_what_nobody_asked_for_is_there_again_after_an_eject_as_after_power_on() -> None:
    rig = Rig()

    rig.eject(3)

    assert rig.identity(3) == 0x2222_1AF4
    assert (rig.goes.powered, rig.goes.closed) == (2, False)


def test_what_stays_and_what_is_not_there_cannot_be_ejected() -> None:
    rig = Rig()

    rig.eject(*range(32))

    assert rig.stays.powered == 1
    assert rig.identity(0) != NOBODY
    assert rig.identity(1) != NOBODY
    assert rig.identity(2) == 0x1111_1AF4
    assert rig.identity(17) == NOBODY


def test_other_accesses_do_nothing() -> None:
    rig = Rig()
    rig.backplane.ask_for(rig.goes)

    for port, size in ((EJECT, 1), (EJECT, 2), (EJECT + 1, 1), (UP, 4), (DOWN, 4)):
        rig.vm.ports.write(port, size, (1 << 8 * size) - 1)

    assert rig.identity(3) == 0x2222_1AF4
    assert (rig.read(UP), rig.read(DOWN), rig.read(EJECT)) == (0, 1 << 3, 0)


def test_a_slot_that_was_emptied_is_filled_again() -> None:
    rig = Rig()
    rig.backplane.ask_for(rig.goes)
    rig.eject(3)
    part = Part(0x3333)

    rig.backplane.plug(part)

    assert rig.identity(3) == 0x3333_1AF4
    assert rig.backplane.contents() == [part]


def test_a_reset_keeps_what_was_plugged_in_and_ends_what_was_asked_for() -> None:
    rig = Rig()
    part = Part(0x3333)
    rig.backplane.plug(part)
    rig.backplane.ask_for(rig.goes)

    rig.reset()

    assert rig.identity(4) == 0x3333_1AF4
    assert rig.identity(3) == NOBODY
    assert rig.backplane.wait_until_gone(rig.goes, 0)
    assert (rig.goes.closed, rig.read(UP), rig.read(DOWN)) == (True, 0, 0)


def test_a_guest_that_wakes_hears_of_what_it_slept_through() -> None:
    rig = Rig()
    part = Part(0x3333)
    rig.backplane.plug(part)
    rig.backplane.ask_for(rig.goes)

    rig.reset(sleeps=True)

    assert rig.vm.ports.read(GPE_STATUS, 2) == 1 << 1
    assert (rig.read(UP), rig.read(DOWN)) == (1 << 4, 1 << 3)
    assert rig.identity(3) == 0x2222_1AF4
    assert not rig.goes.closed


def test_without_a_board_slots_change_all_the_same() -> None:
    rig = Rig()
    rig.backplane.disconnect()
    rig.board.unplug()
    part = Part(0x3333)

    rig.backplane.plug(part)
    rig.backplane.ask_for(rig.goes)

    assert rig.backplane.wait_until_gone(rig.goes, 0)
    rig.build(None)
    assert (rig.identity(3), rig.identity(4)) == (NOBODY, 0x3333_1AF4)
