"""What cannot be run is refused in one sentence; what a guest does wrong is the guest's own affair."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper.cli.status import Status
from innkeeper.config import EngineChoice
from innkeeper.image import KernelImage
from innkeeper.testing.guests import CRASH, POWER_OFF, SPIN, say

from .conftest import Flat
from .inn import Terminal, guest, inn_run

pytestmark = [pytest.mark.boot, pytest.mark.slow]

Spoil = Callable[[bytes], bytes]
MIB = 1 << 20


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda _: b"", "is empty"),
        (lambda data: data[:0x210], "is truncated: its setup header ends after 528 bytes"),
        (lambda data: data[:0x4000], "is truncated: it has 16384 bytes of "),
        (lambda data: data[: len(data) // 2], "is truncated: it has "),
        (lambda data: data[0x4000:], "is of an unknown format (it begins with "),
        (lambda data: data[:0x206] + b"\x05\x02" + data[0x208:], "has no 64-bit entry point (boot protocol 2.05)"),
        (lambda _: b"\x1f\x8b" + bytes(1000), "is packed with gzip"),
        (lambda _: Path(sys.executable).read_bytes(), "is an ELF file with neither a PVH note nor a multiboot header"),
        (lambda _: b"\x7fELF\x02\x01" + bytes(30), "is truncated: it ends after 36 bytes"),
    ],
    ids=["empty", "header", "setup", "half", "headless", "old", "packed", "program", "elf header"],
)
def test_a_kernel_that_is_none(debian: KernelImage, tmp_path: Path, spoil: Spoil, sentence: str) -> None:
    path = tmp_path / "kernel"
    path.write_bytes(spoil(debian.vmlinuz.read_bytes()))

    done = inn_run(*guest(path))

    assert done.status == Status.MISTAKE
    assert done.error.startswith(f"error: kernel {path} {sentence}")


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/absent/vmlinuz", "no such file or directory"), ("/", "is a directory"), ("/dev/zero", "it is a device")],
)
def test_a_file_that_cannot_be_read(debian: KernelImage, path: str, reason: str) -> None:
    as_kernel = inn_run(*guest(Path(path)))
    as_initrd = inn_run(*guest(debian.vmlinuz, Path(path)))

    assert as_kernel.status == as_initrd.status == Status.MISTAKE
    assert as_kernel.error == f"error: cannot read kernel {path}: {reason}"
    assert as_initrd.error == f"error: cannot read initrd {path}: {reason}"


def test_a_memory_that_does_not_hold_the_kernel(debian: KernelImage) -> None:
    done = inn_run(*guest(debian.vmlinuz, memory=16))

    assert done.status == Status.MISTAKE
    assert done.error.startswith(f"error: kernel {debian.vmlinuz} needs memory up to ")
    assert done.error.endswith("the machine's ends at 16 MiB")


def test_an_initrd_that_does_not_fit(debian: KernelImage, tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.touch()
    os.truncate(initrd, 100 * MIB)

    done = inn_run(*guest(debian.vmlinuz, initrd, memory=128))

    assert done.status == Status.MISTAKE
    assert done.error.startswith(
        f"error: initrd {initrd} takes 100 MiB of memory; beside the kernel there is room for "
    )
    assert done.error.endswith("; give the machine more memory")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--memory", "0"], "memory is 0 MiB; it must be between 2 and 1048576"),
        (["--memory", "-1"], "memory is -1 MiB; it must be between 2 and 1048576"),
        (["--memory", "1000000000"], "memory is 1000000000 MiB; it must be between 2 and 1048576"),
        (["--vcpus", "0"], "vcpus is 0; it must be between 1 and 64"),
        (["--vcpus", "999"], "vcpus is 999; it must be between 1 and 64"),
        (["--stats", "/"], "cannot write statistics to /: is a directory"),
        (["--stats", "/absent/stats.json"], "cannot write statistics to /absent/stats.json: no such file or directory"),
        (["--stats", "/proc/version"], "cannot write statistics to /proc/version: "),
        (["--console", "file:/"], "cannot write the console to /: "),
        (["--console", "unix:/absent/console"], "cannot listen for the console at /absent/console: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_machine_that_cannot_be(debian: KernelImage, options: list[str], sentence: str) -> None:
    done = inn_run(*guest(debian.vmlinuz), *options)

    assert done.status == Status.MISTAKE
    assert done.error.startswith("error: ")
    assert sentence in done.error


def test_a_triple_fault_resets_the_machine(flat: Flat, engine: EngineChoice) -> None:
    kernel = flat(say(b"!") + CRASH)

    without_reboot = inn_run(*guest(kernel, memory=16, engine=engine), "--no-reboot")
    for_ever = inn_run(*guest(kernel, memory=16, engine=engine), limit_s=1)

    assert (without_reboot.status, without_reboot.said) == (Status.RESET, "!")
    assert without_reboot.error == "the guest's processor shut down by a triple fault"
    assert for_ever.status == Status.TIMEOUT
    assert set(for_ever.said) == {"!"}
    assert len(for_ever.said) > 2


@pytest.mark.parametrize("vcpus", ["1", "3"])
def test_a_guest_that_spins_with_interrupts_off_can_be_ended(flat: Flat, vcpus: str, engine: EngineChoice) -> None:
    options = [*guest(flat(say(b"spins") + SPIN), memory=16, engine=engine), "--vcpus", vcpus]

    done = inn_run(*options, limit_s=0.3)

    assert (done.status, done.said) == (Status.TIMEOUT, "spins")
    assert done.error == "the time limit passed"
    with Terminal(*options) as terminal:
        terminal.line.wait_for("spins")
        terminal.signal(signal.SIGTERM)
        assert terminal.status() == -signal.SIGTERM
        assert terminal.modes() == terminal.modes_before
        assert terminal.has_left_nothing()


def address(value: int) -> bytes:
    return value.to_bytes(4, "little")


def test_unmapped_addresses_read_as_ones_and_drop_what_is_written(flat: Flat, engine: EngineChoice) -> None:
    code = b""
    for hole in (20 * MIB, 0x8000_0001, 0xE000_0FFE, 0xFFFF_FFF0, 16 * MIB - 2):
        ones = 0xFFFF_FFFF if hole != 16 * MIB - 2 else 0xFFFF_0000  # the last lies half in memory
        code += b"\xc7\x05" + address(hole) + bytes(4)  # mov dword [hole], 0
        code += b"\x81\x3d" + address(hole) + address(ones)  # cmp dword [hole], ones
        code += b"\x74\x02" + CRASH  # je behind it
        code += b"\xf0\xff\x05" + address(hole)  # lock inc dword [hole]
    kernel = flat(code + say(b"all ones") + POWER_OFF)

    done = inn_run(*guest(kernel, memory=16, engine=engine), "--no-reboot")

    assert (done.status, done.said) == (Status.DONE, "all ones"), done.complaint


def test_unclaimed_ports_read_as_ones_and_drop_what_is_written(flat: Flat, engine: EngineChoice) -> None:
    code = b""
    for port in (0x0000, 0x1234, 0xFFFC, 0xFFFF):
        code += b"\x66\xba" + address(port)[:2] + b"\x31\xc0\xef\xed"  # mov dx, port; xor eax, eax; out dx, eax; in
        code += b"\x83\xf8\xff\x74\x02" + CRASH  # cmp eax, -1; je behind it
    kernel = flat(code + say(b"all ones") + POWER_OFF)

    done = inn_run(*guest(kernel, memory=16, engine=engine), "--no-reboot")

    assert (done.status, done.said) == (Status.DONE, "all ones"), done.complaint


def test_code_in_unmapped_addresses_is_an_invalid_opcode(flat: Flat, engine: EngineChoice) -> None:
    jump = b"\xb8" + address(0xD000_0000) + b"\xff\xe0"  # mov eax, address; jmp eax: there is nothing but FF FF

    done = inn_run(*guest(flat(jump), memory=16, engine=engine), "--no-reboot")

    assert done.status == Status.RESET
    assert done.error == "the guest's processor shut down by a triple fault"


@pytest.mark.parametrize(
    "string",
    [b"\xf3\xaa", b"\xf3\xa5", b"\xf3\x6c", b"\xf3\x6f"],
    ids=["rep stosb", "rep movsd", "rep insb", "rep outsd"],
)
def test_a_string_instruction_that_runs_out_of_memory_goes_on(flat: Flat, string: bytes, engine: EngineChoice) -> None:
    code = b"\xbf" + address(16 * MIB - 100)  # mov edi, just below the end
    code += b"\xbe" + address(16 * MIB - 60)  # mov esi, likewise
    code += b"\xb9" + address(5000) + b"\x66\xba\x34\x12\x31\xc0\xfc" + string  # mov ecx; mov dx; xor eax, eax; cld
    code += b"\xe3\x02" + CRASH  # jecxz behind it
    kernel = flat(code + say(b"done") + POWER_OFF)

    done = inn_run(*guest(kernel, memory=16, engine=engine), "--no-reboot")

    assert (done.status, done.said) == (Status.DONE, "done"), done.complaint
