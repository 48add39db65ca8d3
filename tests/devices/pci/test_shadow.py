"""The adapter area: ROM, RAM or both, as the host bridge's registers choose."""

import pytest

from innkeeper.devices.pci.host_bridge import PAM, HostFunction
from innkeeper.devices.pci.shadow import ALL_RAM, ALL_ROM, AREA, AREA_BYTES, PIECES, Shadow
from innkeeper.memory import FlatMemory
from innkeeper.testing import ScriptedVm

ROM, READ_ONLY_RAM, WRITE_BEHIND, RAM = range(4)


class Area:
    def __init__(self, *, rom: bool = True, pam: bytes = ALL_ROM) -> None:
        self.memory = FlatMemory([(0, 0xA0000), (AREA, AREA_BYTES)])
        self.vm = ScriptedVm(self.memory)
        self.ram = self.memory.movable_ram(AREA)
        image = self.memory.device_ram(0x4_0000)
        image.write(0, b"rom!" * 0x1_0000)
        self.host = HostFunction(Shadow(self.vm, self.ram, image if rom else None), pam)

    def set(self, gpa: int, attributes: int) -> None:
        (piece,) = [piece for piece in PIECES if piece.gpa == gpa]
        at = PAM + piece.register
        kept = self.host.read_config(at, 1) & ~(3 << piece.shift)
        self.host.write_config(at, 1, kept | attributes << piece.shift)

    def write(self, gpa: int, data: bytes) -> None:
        """As a guest does: what is not writable memory goes to the MMIO there."""
        writable = [slot for slot in self.memory._slots if slot.gpa <= gpa < slot.end and not slot.read_only]
        if writable:
            self.memory.write(gpa, data)
        else:
            self.vm.mmio.write(gpa, len(data), int.from_bytes(data, "little"))


def test_reset_finds_the_rom_at_the_top_and_nothing_below() -> None:
    area = Area()
    assert area.memory.read(0xE0000, 4) == b"rom!"
    assert area.memory.read(0xFFFFC, 4) == b"rom!"
    with pytest.raises(ValueError, match="not all RAM"):
        area.memory.read(0xDFFFF, 1)
    assert area.vm.mmio.read(0xD0000, 4) == 0xFFFF_FFFF


@pytest.mark.parametrize("gpa", [piece.gpa for piece in PIECES])
def test_each_piece_follows_its_own_nibble(gpa: int) -> None:
    area = Area()
    before = area.memory.ranges
    area.set(gpa, RAM)
    area.write(gpa + 8, b"ram")
    assert area.memory.read(gpa + 8, 3) == b"ram"
    assert area.ram.read(gpa - AREA + 8, 3) == b"ram"
    area.set(gpa, READ_ONLY_RAM)
    area.write(gpa + 8, b"xxx")
    assert area.memory.read(gpa + 8, 3) == b"ram"
    area.set(gpa, ROM)
    area.write(gpa + 8, b"yyy")
    assert area.memory.ranges == before
    assert area.ram.read(gpa - AREA + 8, 3) == b"ram"


def test_writes_go_behind_the_rom_where_only_writes_reach_ram() -> None:
    area = Area()
    area.set(0xF0000, WRITE_BEHIND)
    area.write(0xF1234, b"new!")
    assert area.memory.read(0xF1234, 4) == b"rom!"
    area.set(0xF0000, READ_ONLY_RAM)
    assert area.memory.read(0xF1234, 4) == b"new!"


def test_the_area_is_left_as_it_was_found() -> None:
    area = Area()
    area.set(0xF0000, RAM)
    area.set(0xC4000, READ_ONLY_RAM)
    area.host.unplug()
    assert area.memory.ranges == [(0, 0xA0000), (AREA, AREA_BYTES)]
    assert area.vm.mmio.regions() == []


def test_a_machine_without_firmware_has_ram_everywhere() -> None:
    area = Area(rom=False, pam=ALL_RAM)
    area.memory.write(AREA, b"x" * AREA_BYTES)
    assert area.host.pam == ALL_RAM
    area.set(0xF0000, ROM)
    with pytest.raises(ValueError, match="not all RAM"):
        area.memory.read(0xF0000, 1)


def test_bits_that_do_not_exist_stay_clear() -> None:
    area = Area()
    area.host.write_config(PAM, 4, 0xFFFF_FFFF)
    area.host.write_config(PAM + 4, 4, 0xFFFF_FFFF)
    assert area.host.pam == ALL_RAM
    assert area.host.read_config(PAM + 7, 1) == 0
