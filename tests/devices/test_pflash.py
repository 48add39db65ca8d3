"""Flash as UEFI drives it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.devices.pflash import Flash
from innkeeper.memory import FlatMemory
from innkeeper.testing import ScriptedVm

BASE, SIZE = 0xFFC0_0000, 0x4000


class Kept:
    """A store that remembers."""

    def __init__(self) -> None:
        self.content = bytearray(b"\xff" * SIZE)
        self.syncs = 0

    def write(self, offset: int, data: bytes) -> None:
        self.content[offset : offset + len(data)] = data

    def sync(self) -> None:
        self.syncs += 1


class Board:
    def __init__(self) -> None:
        self.memory = FlatMemory([(0, 0x1000)])
        self.vm = ScriptedVm(self.memory)
        self.store = Kept()
        self.flash = Flash(self.vm, self.memory.device_ram(SIZE), self.store, BASE)

    def write(self, offset: int, *values: int) -> None:
        for value in values:
            self.vm.mmio.write(BASE + offset, 1, value)

    def read(self, offset: int) -> int:
        """As a guest: memory where it is shown, the chip elsewhere."""
        try:
            return self.memory.read(BASE + offset, 1)[0]
        except ValueError:
            return self.vm.mmio.read(BASE + offset, 1)


@pytest.fixture
def board() -> Board:
    return Board()


def test_edk2_recognises_flash_by_its_status(board: Board) -> None:
    board.write(0, 0x50)
    assert board.read(0) == 0xFF  # neither RAM nor 0x50
    board.write(0, 0x70)
    assert board.read(0) == 0
    board.write(0, 0xFF)
    assert board.read(0) == 0xFF


@pytest.mark.parametrize("command", [0x10, 0x40])
def test_programming_clears_bits_and_erasing_sets_them(board: Board, command: int) -> None:
    board.write(5, command, 0x3C)
    board.write(5, command, 0xF0)
    assert board.read(5) == 0x80
    board.write(5, 0xFF)
    assert board.read(5) == 0x30
    assert board.store.content[5] == 0x30
    board.write(0x1005, command, 0)
    board.write(7, 0x20, 0xD0)
    assert board.read(7) == 0x80
    board.write(7, 0xFF)
    assert (board.read(5), board.read(0x1005)) == (0xFF, 0)


def test_the_array_is_memory_only_while_it_is_shown(board: Board) -> None:
    assert board.memory.ranges[-1] == (BASE, SIZE)
    board.write(0, 0x90)
    assert board.memory.ranges[-1] == (0, 0x1000)
    assert (board.read(0), board.read(1)) == (0x89, 0x18)
    board.write(0, 0xFF)
    assert board.memory.ranges[-1] == (BASE, SIZE)
    board.flash.unplug()
    assert (board.memory.ranges, board.vm.mmio.regions()) == ([(0, 0x1000)], [])


def test_a_buffer_is_programmed_once_it_is_confirmed(board: Board) -> None:
    board.write(0x10, 0xE8)
    assert board.read(0x10) == 0x80
    board.write(0x10, 2)
    for at, value in enumerate((1, 2, 3), 0x10):
        board.write(at, value)
    assert board.store.content[0x10] == 0xFF
    board.write(0x10, 0xD0, 0xFF)
    assert bytes(board.store.content[0x0F:0x14]) == b"\xff\1\2\3\xff"


def test_wrong_sequences_say_so(board: Board) -> None:
    board.write(0, 0x20, 0x12)
    assert board.read(0) == 0xB0
    board.write(0, 0x50, 0xE8, 0, 1, 0x12)  # no confirmation
    assert board.read(0) == 0x90
    board.write(0, 0x50)
    board.vm.mmio.write(BASE, 2, 0xE8)
    board.vm.mmio.write(BASE, 2, 0xFFFF)  # more than the buffer holds
    assert board.read(0) == 0x90
    assert board.store.content == b"\xff" * SIZE


def test_what_was_written_is_kept_before_the_array_shows_again(board: Board) -> None:
    board.write(0, 0x10, 1)
    before = board.store.syncs
    board.write(0, 0xFF)
    assert board.store.syncs > before


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, SIZE - 8),
            st.sampled_from((1, 2, 4, 8)),
            st.one_of(st.sampled_from((0xFF, 0x10, 0x20, 0xD0, 0xE8, 0x70, 0x90, 0x50)), st.integers(0, 2**64 - 1)),
        ),
        max_size=60,
    )
)
def test_no_order_of_commands_raises(writes: list[tuple[int, int, int]]) -> None:
    board = Board()
    for offset, size, value in writes:
        board.vm.mmio.write(BASE + offset, size, value)
        board.vm.mmio.read(BASE + offset, size)
    board.flash.unplug()
    board.vm.mmio.write(BASE, 1, 0xFF)
    assert len(board.store.content) == SIZE
