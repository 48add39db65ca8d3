"""The registers of processors, as ACPI's methods use them."""

import pytest

from innkeeper.devices.cpu_hotplug import (
    ARRIVED,
    EJECT,
    OUTCOME,
    PLUGGED,
    PROCESSORS,
    WANTED,
    CpuHotplug,
    CpuHotplugState,
)


class Sockets:
    """With processors 0 and 2 of four."""

    def __init__(self) -> None:
        self.possible, self.plugged = 4, frozenset({0, 2})
        self.heard: list[tuple[object, ...]] = []

    def ejected(self, index: int, /) -> None:
        self.heard.append(("ejected", index))
        self.plugged -= {index}

    def answered(self, index: int, status: int, /) -> None:
        self.heard.append(("answered", index, status))

    def take_on(self, plugged: frozenset[int], /) -> None:
        if not plugged <= frozenset(range(self.possible)):
            raise ValueError("too many")
        self.plugged = plugged


class Chip:
    def __init__(self, state: CpuHotplugState | None = None) -> None:
        self.sockets, self.looks = Sockets(), 0
        self.registers = CpuHotplug(self.sockets, self.look, state)

    def look(self) -> None:
        self.looks += 1

    def word(self, index: int) -> int:
        return self.registers.read(4 * index, 4)

    def write(self, index: int, value: int) -> None:
        self.registers.write(4 * index, 4, value)


def test_each_has_a_word_that_says_whether_it_is_there() -> None:
    assert [Chip().word(index) for index in range(5)] == [PLUGGED, 0, PLUGGED, 0, 0]


def test_what_has_come_is_told_until_the_guest_has_heard_of_it() -> None:
    chip = Chip()
    chip.sockets.plugged |= {1}
    chip.registers.announce(1)
    assert (chip.word(1), chip.looks) == (PLUGGED | ARRIVED, 1)
    chip.write(2, ARRIVED)
    assert chip.word(1) == PLUGGED | ARRIVED
    chip.write(1, ARRIVED)
    assert chip.word(1) == PLUGGED


def test_what_shall_go_is_told_and_goes_by_an_ejection() -> None:
    chip = Chip()
    chip.registers.ask(2)
    assert (chip.word(2), chip.looks) == (PLUGGED | WANTED, 1)
    chip.write(2, WANTED)
    assert chip.word(2) == PLUGGED
    chip.write(2, EJECT)
    assert (chip.word(2), chip.sockets.heard) == (0, [("ejected", 2)])


def test_a_request_that_is_withdrawn_is_not_told() -> None:
    chip = Chip()
    chip.registers.ask(2)
    chip.registers.withdraw(2)
    assert chip.word(2) == PLUGGED


def test_what_became_of_a_request_is_passed_on() -> None:
    chip = Chip()
    chip.write(2, OUTCOME | 3 << 8 | 0x82 << 16)
    chip.write(2, OUTCOME | 1 << 8 | 0x82 << 16)  # of an insertion
    chip.write(2, 3 << 8 | 0x82 << 16)
    assert chip.sockets.heard == [("answered", 2, 0x82)]


@pytest.mark.parametrize("size", [1, 2])
def test_parts_of_a_word_can_be_read_and_not_written(size: int) -> None:
    chip = Chip()
    chip.registers.ask(2)
    assert [chip.registers.read(8 + at, size) for at in (0, 2)] == [PLUGGED | WANTED, 0]
    chip.registers.write(8, size, EJECT)
    chip.registers.write(9, 4, EJECT)
    chip.registers.write(10, 2, EJECT)
    assert chip.sockets.heard == []


def test_every_word_can_be_written_and_the_chip_outlives_its_board() -> None:
    chip = Chip()
    for index in range(PROCESSORS):
        chip.write(index, 0xFFFF_FFFF)
    chip.registers.disconnect()
    for index in range(PROCESSORS):
        chip.write(index, 0xFFFF_FFFF)
        assert chip.word(index) == 0
    assert len(chip.sockets.heard) == PROCESSORS


def test_a_guest_that_slept_hears_of_changes() -> None:
    chip = Chip()
    chip.registers.ask(2)
    woken = Chip(chip.registers.save())
    assert (woken.word(2), woken.looks) == (PLUGGED | WANTED, 1)
    assert Chip(CpuHotplugState()).looks == 0


def test_a_saved_chip_has_the_same_processors() -> None:
    chip, other = Chip(), Chip()
    chip.sockets.plugged |= {3}
    chip.registers.announce(3)
    chip.registers.ask(2)
    other.registers.restore(chip.registers.state())
    assert other.sockets.plugged == {0, 2, 3}
    assert [other.word(index) for index in range(4)] == [chip.word(index) for index in range(4)]


@pytest.mark.parametrize(
    "change", [{"plugged": 0}, {"plugged": 1 << 64}, {"plugged": 0x11}, {"arrived": -1}, {"wanted": None}, {"more": 1}]
)
def test_what_cannot_be_is_refused(change: dict[str, object]) -> None:
    chip = Chip()
    chip.registers.ask(2)
    with pytest.raises(ValueError, match=r"it|too many"):
        chip.registers.restore(chip.registers.state() | change)
    assert chip.sockets.plugged == {0, 2}
    assert chip.word(2) == PLUGGED | WANTED
