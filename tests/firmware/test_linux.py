"""bzImage: its header, where things go, and what a wrong one is told."""

import struct
from pathlib import Path

import pytest

from innkeeper.errors import BootError
from innkeeper.firmware import BootPlan, open_bzimage
from innkeeper.firmware.base import LOW_LAYOUT
from innkeeper.firmware.linux import BzImage
from innkeeper.memory import FlatMemory
from innkeeper.testing.engine import reset_state
from innkeeper.testing.guests import HALT, flat_guest

from .conftest import MIB, bzimage, plan

ZERO_PAGE = LOW_LAYOUT["boot info"][0]


def image(**changes: int) -> BzImage:
    return BzImage(Path("vmlinuz"), bzimage(b"\x90" * 4096, **changes))


def field(memory: FlatMemory, offset: int, code: str) -> int:
    value: int = struct.unpack(code, memory.read(ZERO_PAGE + offset, struct.calcsize(code)))[0]
    return value


def test_the_kernel_lands_where_it_prefers_to_be(memory: FlatMemory) -> None:
    code = bytes(range(256)) * 16

    entry = BzImage(Path("vmlinuz"), bzimage(code)).load(memory, plan())
    state = entry(reset_state())

    assert memory.read(2 * MIB, len(code)) == code
    assert state["rip"] == 2 * MIB + 0x200
    assert state["gpr"][6] == ZERO_PAGE


def test_the_processor_is_in_long_mode_with_memory_mapped_to_itself(memory: FlatMemory) -> None:
    state = image().load(memory, plan())(reset_state())

    assert (state["cr0"] & 0x8000_0001, state["cr4"] & 0x20, state["efer"] & 0x500) == (0x8000_0001, 0x20, 0x500)
    assert state["segments"][1] == {"selector": 0x10, "attributes": 0xA09B, "limit": 0xFFFF_FFFF, "base": 0}
    assert state["segments"][3]["selector"] == 0x18
    assert not state["rflags"] & 0x200
    assert translate(memory, state["cr3"], 0x1234_5678) == 0x1234_5678
    assert translate(memory, state["cr3"], 0xFFFF_FFFF) == 0xFFFF_FFFF
    gdt = struct.unpack("<4Q", memory.read(state["gdtr"]["base"], 32))
    assert gdt[2:] == (0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF)


def translate(memory: FlatMemory, root: int, address: int) -> int:
    """The walk down to a 2 MiB page."""
    table = root
    for shift in (39, 30):
        entry = struct.unpack("<Q", memory.read(table + 8 * (address >> shift & 511), 8))[0]
        assert entry & 3 == 3
        table = entry & ~0xFFF
    entry = struct.unpack("<Q", memory.read(table + 8 * (address >> 21 & 511), 8))[0]
    assert entry & 0x83 == 0x83
    return int(entry & ~0x1FFFFF | address & 0x1FFFFF)


def test_the_zero_page_holds_the_header_and_what_the_loader_knows(memory: FlatMemory) -> None:
    image().load(memory, plan())

    assert memory.read(ZERO_PAGE + 0x202, 4) == b"HdrS"
    assert field(memory, 0x210, "<B") == 0xFF
    assert field(memory, 0x070, "<Q") == 0xF0000
    line = field(memory, 0x228, "<I")
    assert memory.read(line, 14) == b"console=ttyS0\0"
    assert field(memory, 0x1E8, "<B") == 3
    assert struct.unpack("<QQI", memory.read(ZERO_PAGE + 0x2D0 + 40, 20)) == (MIB, 15 * MIB, 1)
    assert field(memory, 0x1E0, "<I") == 15 * 1024
    assert field(memory, 0x218, "<I") == 0


def test_the_initrd_goes_as_high_as_it_may(memory: FlatMemory) -> None:
    content = b"cpio" * 3000

    image().load(memory, plan(initrd=content, initrd_path=Path("initrd")))

    start, size = field(memory, 0x218, "<I"), field(memory, 0x21C, "<I")
    assert (start % 4096, size) == (0, len(content))
    assert 16 * MIB - 4096 < start + len(content) <= 16 * MIB
    assert memory.read(start, size) == content


def test_the_initrd_stays_below_the_kernels_limit(memory: FlatMemory) -> None:
    image(initrd_highest=8 * MIB - 1).load(memory, plan(initrd=b"x" * 100, initrd_path=Path("initrd")))

    assert field(memory, 0x218, "<I") == 8 * MIB - 4096


def test_a_kernel_that_does_not_fit_where_it_prefers_moves_down(memory: FlatMemory) -> None:
    entry = image(preferred=16 * MIB).load(memory, plan())

    assert entry(reset_state())["rip"] == 2 * MIB + 0x200


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"preferred": 16 * MIB, "relocatable": 0}, "needs memory up to 17 MiB; the machine's ends at 16 MiB"),
        ({"needed": 64 * MIB}, "needs memory up to 66 MiB; the machine's ends at 16 MiB"),
        ({"preferred": 0, "relocatable": 0}, "a kernel belongs at 1 MiB or above"),
        ({"command_line_limit": 5}, "the command line is 13 bytes long; kernel vmlinuz takes at most 5"),
    ],
)
def test_a_kernel_that_cannot_be_placed_is_refused(memory: FlatMemory, changes: dict[str, int], words: str) -> None:
    with pytest.raises(BootError, match=words):
        image(**changes).load(memory, plan())


@pytest.mark.parametrize("changes", [{"version": 0x020A}, {"xloadflags": 0}])
def test_a_kernel_without_a_64_bit_entry_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(BootError, match="no 64-bit entry point"):
        image(**changes)


def test_an_initrd_that_does_not_fit_is_refused(memory: FlatMemory) -> None:
    with pytest.raises(BootError, match=r"initrd big takes 20 MiB of memory; beside the kernel there is room for 14"):
        image().load(memory, plan(initrd=bytes(20 * MIB), initrd_path=Path("big")))
    with pytest.raises(BootError, match="takes 15 MiB of memory"):
        image().load(memory, plan(initrd=bytes(15 * MIB), initrd_path=Path("big")))


@pytest.mark.parametrize("length", [0x210, 0x260, 1024, 5000])
def test_a_truncated_kernel_is_refused(length: int) -> None:
    with pytest.raises(BootError, match="is truncated"):
        BzImage(Path("vmlinuz"), bzimage()[:length])


def test_uefi_is_handed_the_file_in_two_parts() -> None:
    data = b"MZ" + bzimage()[2:]
    handed = BzImage(Path("vmlinuz"), data).for_firmware(BootPlan(command_line="quiet", initrd=b"initrd"))
    assert (handed.setup, handed.rest) == (data[:1024], data[1024:])
    assert (handed.initrd, handed.command_line) == (b"initrd", b"quiet\0")


def test_uefi_starts_no_kernel_without_its_stub(tmp_path: Path) -> None:
    with pytest.raises(BootError, match="vmlinuz was made without CONFIG_EFI_STUB"):
        BzImage(Path("vmlinuz"), bzimage()).for_firmware(BootPlan())
    (tmp_path / "kernel").write_bytes(flat_guest(HALT))
    with pytest.raises(BootError, match="kernel is no bzImage, and UEFI is handed no other"):
        open_bzimage(tmp_path / "kernel")
