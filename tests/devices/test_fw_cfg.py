"""fw_cfg by ports and by DMA."""

import struct

import pytest

from innkeeper.devices import fw_cfg as chip
from innkeeper.devices.fw_cfg import FwCfg
from innkeeper.memory import FlatMemory

REQUEST, TARGET = 0x1000, 0x2000


class Guest:
    def __init__(self) -> None:
        self.memory = FlatMemory([(0, 0x10000)])
        files = {"opt/b": b"second", "opt/a": b"first"}
        self.device = FwCfg(self.memory, {chip.KEY_VCPUS: chip.integer(3, 2)}, files)

    def select(self, key: int) -> None:
        self.device.write(chip.SELECTOR, 2, key)

    def take(self, count: int) -> bytes:
        return bytes(self.device.read(chip.DATA, 1) for _ in range(count))

    def transfer(self, control: int, length: int, target: int = TARGET, request: int = REQUEST) -> int:
        self.memory.write(REQUEST, struct.pack(">IIQ", control, length, target))
        swapped = struct.unpack("<II", struct.pack(">Q", request))
        self.device.write(chip.DMA_HIGH, 4, swapped[0])
        self.device.write(chip.DMA_LOW, 4, swapped[1])
        return int(struct.unpack(">I", self.memory.read(REQUEST, 4))[0])


@pytest.fixture
def guest() -> Guest:
    return Guest()


def test_the_signature_is_there(guest: Guest) -> None:
    guest.select(chip.KEY_SIGNATURE)

    assert guest.take(6) == b"QEMU\0\0"


def test_items_read_from_their_start_after_each_selection(guest: Guest) -> None:
    for _ in range(2):
        guest.select(chip.KEY_VCPUS)
        assert guest.take(2) == b"\x03\x00"


def test_an_item_that_does_not_exist_reads_as_zeroes(guest: Guest) -> None:
    guest.select(0x1234)

    assert guest.take(3) == b"\0\0\0"


def test_the_directory_lists_the_files(guest: Guest) -> None:
    guest.select(chip.KEY_DIRECTORY)
    count = struct.unpack(">I", guest.take(4))[0]
    entries = [struct.unpack(">IHH56s", guest.take(64)) for _ in range(count)]

    assert [(size, name.rstrip(b"\0")) for size, _, _, name in entries] == [(5, b"opt/a"), (6, b"opt/b")]
    guest.select(entries[1][1])
    assert guest.take(6) == b"second"


def test_dma_copies_the_selected_item(guest: Guest) -> None:
    control = chip.DMA_SELECT | chip.DMA_READ | chip.KEY_FIRST_FILE << 16

    assert guest.transfer(control, 8) == 0
    assert guest.memory.read(TARGET, 8) == b"first\0\0\0"


def test_dma_skips(guest: Guest) -> None:
    guest.transfer(chip.DMA_SELECT | chip.DMA_SKIP | chip.KEY_FIRST_FILE << 16, 2)
    guest.transfer(chip.DMA_READ, 3)

    assert guest.memory.read(TARGET, 3) == b"rst"


def test_dma_writes_are_refused(guest: Guest) -> None:
    assert guest.transfer(chip.DMA_SELECT | chip.DMA_WRITE | chip.KEY_FIRST_FILE << 16, 2) == chip.DMA_ERROR


def test_dma_to_nowhere_is_an_error_that_the_guest_sees(guest: Guest) -> None:
    control = chip.DMA_SELECT | chip.DMA_READ | chip.KEY_FIRST_FILE << 16

    assert guest.transfer(control, 8, target=0xFFFC) == chip.DMA_ERROR
    assert guest.transfer(control, 0xFFFF_FFFF, target=0x8000) == chip.DMA_ERROR


def test_a_request_outside_memory_changes_nothing(guest: Guest) -> None:
    control = chip.DMA_SELECT | chip.DMA_READ | chip.KEY_FIRST_FILE << 16

    assert guest.transfer(control, 8, request=0xFFFF_FFFF_FFFF_FFF8) == control
    assert guest.memory.read(TARGET, 8) == bytes(8)


def test_the_dma_register_shows_its_signature(guest: Guest) -> None:
    high, low = guest.device.read(chip.DMA_HIGH, 4), guest.device.read(chip.DMA_LOW, 4)

    assert struct.pack("<II", high, low) == chip.DMA_SIGNATURE
