"""Multiboot: ELF files and flat images."""

import struct
from pathlib import Path

import pytest

from innkeeper.errors import BootError
from innkeeper.firmware.legacy import PRELUDE
from innkeeper.firmware.multiboot import MultibootImage, find_header
from innkeeper.memory import FlatMemory
from innkeeper.testing.engine import reset_state

from .conftest import MIB, elf64, multiboot_header, plan

LOAD = MIB


def entered(memory: FlatMemory) -> int:
    """Where the prelude goes at its end, by MOV EAX, magic; MOV ECX, entry; JMP ECX."""
    code = memory.read(PRELUDE, 0x100).rstrip(b"\0")
    magic, entry = struct.unpack("<xIxI2x", code[-12:])
    assert magic == 0x2BADB002
    return int(entry)


def flat(code: bytes = b"payload!", *, bss_end: int = 0, before: int = 16, load: int = LOAD) -> bytes:
    """A flat image: `before` bytes that are not loaded, then the header, then `code`."""
    end = load + 32 + len(code)
    header = multiboot_header(1 << 16, (load, load, end, bss_end or end, load + 32))
    return bytes(before) + header + code


def test_an_elf_file_is_loaded_by_its_own_headers(memory: FlatMemory) -> None:
    data = elf64([(LOAD, multiboot_header() + b"code", 0x3000)], entry=LOAD + 12)

    state = MultibootImage(Path("test.elf"), data).load(memory, plan())(reset_state())

    assert memory.read(LOAD + 12, 4) == b"code"
    assert state["rip"] == PRELUDE
    assert entered(memory) == LOAD + 12
    assert state["gpr"][0] == 0x2BADB002
    assert state["cr0"] & 0x8000_0001 == 1


def test_a_flat_image_is_loaded_as_its_header_says(memory: FlatMemory) -> None:
    state = MultibootImage(Path("flat"), flat(bss_end=LOAD + 0x1000)).load(memory, plan())(reset_state())

    assert memory.read(LOAD + 32, 8) == b"payload!"
    assert memory.read(LOAD, 4) == struct.pack("<I", 0x1BADB002)
    assert state["rip"] == PRELUDE
    assert entered(memory) == LOAD + 32


def test_the_information_leads_to_everything(memory: FlatMemory) -> None:
    image = MultibootImage(Path("test.flat"), flat())

    state = image.load(memory, plan(initrd=b"module", initrd_path=Path("env")))(reset_state())

    info = memory.read(state["gpr"][3], 88)
    flags, lower, upper = struct.unpack_from("<3I", info)
    assert (flags, lower, upper) == (0x24D, 640, 15 * 1024)
    line, count, modules = struct.unpack_from("<3I", info, 16)
    assert memory.read(line, 24) == b"test.flat console=ttyS0\0"
    start, end, string, _ = struct.unpack("<4I", memory.read(modules, 16))
    assert (count, memory.read(start, end - start), memory.read(string, 4)) == (1, b"module", b"env\0")
    length, table = struct.unpack_from("<2I", info, 44)
    assert length == 3 * 24
    assert struct.unpack("<IQQI", memory.read(table + 48, 24)) == (20, MIB, 15 * MIB, 1)
    (name,) = struct.unpack_from("<I", info, 64)
    assert memory.read(name, 10) == b"Innkeeper\0"


def test_the_header_must_be_aligned_whole_and_early() -> None:
    header = multiboot_header()

    assert find_header(bytes(8) + header) is not None
    assert find_header(bytes(6) + header) is None
    assert find_header(bytes(8192) + header) is None
    assert find_header(header[:11]) is None
    assert find_header(header[:8] + b"\0\0\0\0") is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (multiboot_header(4), "asks for multiboot features 0x4"),
        (multiboot_header() + b"raw", "gives no load addresses"),
        (flat()[:-1], r"truncated: it has 55 bytes of 56"),
        (flat()[:24] + b"\0\0\0\0" + flat()[28:], "no multiboot header"),
    ],
)
def test_a_wrong_file_is_refused(memory: FlatMemory, data: bytes, words: str) -> None:
    with pytest.raises(BootError, match=words):
        MultibootImage(Path("k"), data).load(memory, plan())


def test_load_addresses_that_contradict_each_other_are_refused(memory: FlatMemory) -> None:
    header = multiboot_header(1 << 16, (LOAD, LOAD + 0x1000, LOAD + 0x2000, 0, LOAD))

    with pytest.raises(BootError, match="contradict"):
        MultibootImage(Path("k"), header + bytes(100)).load(memory, plan())


def test_a_kernel_outside_memory_is_refused(memory: FlatMemory) -> None:
    with pytest.raises(BootError, match="where the machine has no memory"):
        MultibootImage(Path("k"), flat(load=64 * MIB)).load(memory, plan())
    with pytest.raises(BootError, match="where the machine has no memory"):
        MultibootImage(Path("k"), flat(bss_end=64 * MIB)).load(memory, plan())


def test_a_kernel_over_the_boot_structures_is_refused(memory: FlatMemory) -> None:
    with pytest.raises(BootError, match="where its page tables belongs"):
        MultibootImage(Path("k"), flat(load=0x90000)).load(memory, plan())
