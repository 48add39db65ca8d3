"""Each boot protocol starts what it is for, and the kernel that Debian gives hardware starts too."""

from pathlib import Path

import pytest

from innkeeper.cli.status import Status
from innkeeper.config import EngineChoice
from innkeeper.engine import choose
from innkeeper.image import KernelImage
from innkeeper.machine.builder import NEEDS
from innkeeper.testing.guests import CRASH, POWER_OFF

from .conftest import Flat, Initramfs, fetched
from .inn import guest, inn_run
from .vmlinux import PackingError, extract

pytestmark = [pytest.mark.boot, pytest.mark.slow]

SAY = "uname -r; poweroff -f"


def test_pvh_starts_the_elf_kernel(
    debian: KernelImage, initramfs: Initramfs, tmp_path: Path, engine: EngineChoice
) -> None:
    vmlinux = tmp_path / "vmlinux"
    try:
        vmlinux.write_bytes(extract(debian.vmlinuz.read_bytes()))
    except PackingError as error:
        pytest.skip(str(error))

    done = inn_run(*guest(vmlinux, initramfs(SAY), append="quiet cryptomgr.notests", engine=engine))

    assert done.status == Status.DONE, done.said[-2000:] + done.complaint
    assert debian.release in done.lines  # on the serial console, which nobody told it of


def test_multiboot_tells_the_kernel_its_magic_and_its_command_line(flat: Flat, engine: EngineChoice) -> None:
    # Word 4 of the information at EBX is the command line's address.
    repeat = b"\x8b\x5b\x10\x66\xba\xf8\x03"  # mov ebx, [ebx+16]; mov dx, COM1
    repeat += b"\x8a\x03\x84\xc0\x74\x04\xee\x43\xeb\xf6"  # each byte up to the NUL: out dx, al
    repeat += POWER_OFF
    magic_or_crash = b"\x3d\x02\xb0\xad\x2b\x75" + bytes((len(repeat),))  # cmp eax, 0x2badb002; jne behind it
    kernel = flat(magic_or_crash + repeat + CRASH)

    done = inn_run(*guest(kernel, append="words for a kernel", memory=16, engine=engine), "--no-reboot")

    assert (done.status, done.said) == (Status.DONE, f"{kernel} words for a kernel"), done.complaint


def test_the_kernel_for_hardware_boots_too(initramfs: Initramfs, engine: EngineChoice) -> None:
    kernel = fetched("linux-image-amd64")

    done = inn_run(*guest(kernel.vmlinuz, initramfs(SAY, kernel), engine=engine))

    assert done.status == Status.DONE, done.said[-2000:] + done.complaint
    assert kernel.release in done.lines


def test_the_hosts_kvm_boots_it_where_it_can(debian: KernelImage, initramfs: Initramfs) -> None:
    choice = choose(EngineChoice.AUTO, NEEDS["linux"])
    if choice.engine.name != "kvm":
        pytest.skip(f"no KVM that runs this guest: {choice.why}")

    done = inn_run(*guest(debian.vmlinuz, initramfs(SAY)), "--engine", "auto")

    assert done.status == Status.DONE, done.said[-2000:] + done.complaint
    assert done.complaint == f"engine {choice.why}\n"
    assert debian.release in done.lines
