"""The guest that soaks boot: it says that userspace runs, and powers off."""

import re
from pathlib import Path

from innkeeper.image import InitramfsRecipe, KernelImage, build_initramfs

MARKER = "SOAK USERSPACE"
INIT = f'#!/bin/sh\n. /etc/innkeeper/setup\necho "{MARKER} $(nproc) $(uname -r)"\npoweroff -f\n'
# What a kernel says when something is wrong with it or with its processor.
BAD = re.compile(
    r"WARNING:|BUG:|Oops|Call Trace|soft lockup|hard LOCKUP|detected stall|blocked for more than|general protection"
    r"|segfault|unchecked MSR|alg: .*(fail|error)|invalid opcode|double fault|Bad page|Kernel panic|inconsistent"
)


def build_guest(folder: Path) -> Path:
    init = folder / "soak.init"
    init.write_text(INIT)
    return build_initramfs(InitramfsRecipe(init=init), folder / "soak.cpio.gz")


def complaints(said: str, kernel: KernelImage, vcpus: int) -> list[str]:
    """What is wrong with a boot by what its guest said."""
    lines = said.replace("\r", "").splitlines()
    wrong = [line for line in lines if BAD.search(line)]
    if f"{MARKER} {vcpus} {kernel.release}" not in lines:
        wrong.append(f"it did not reach userspace; its last words: {lines[-5:]}")
    return wrong
