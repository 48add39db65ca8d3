"""Debian's own kernel on the interpreter, driven as a user would: by `inn run` and by the Python API."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from innkeeper import EngineChoice, ImageError, Machine, MachineConfig, MemoryConsole, OutcomeKind
from innkeeper.image import InitramfsRecipe, KernelImage, build_initramfs, fetch_kernel

pytestmark = pytest.mark.boot

LIMIT_S = 300
PROMPT = b"/root # "
Initramfs = Callable[[str], Path]


@cache
def debian_kernel() -> KernelImage | str:
    try:
        return fetch_kernel()
    except ImageError as error:
        return str(error)


@pytest.fixture
def kernel() -> KernelImage:
    found = debian_kernel()
    if isinstance(found, str):
        pytest.skip(f"no Debian kernel (package linux-image-cloud-amd64): {found}")
    return found


@pytest.fixture
def initramfs(tmp_path: Path, kernel: KernelImage) -> Initramfs:
    def build(commands: str) -> Path:
        init = tmp_path / "init"
        init.write_text(f"#!/bin/sh\n. /etc/innkeeper/setup\n{commands}\n")
        recipe = InitramfsRecipe(init=init, modules=("virtio_net",), modules_directory=kernel.modules)
        return build_initramfs(recipe, tmp_path / "initramfs.cpio.gz")

    return build


def test_inn_run_reaches_userspace_and_powers_off(kernel: KernelImage, initramfs: Initramfs, tmp_path: Path) -> None:
    archive = initramfs("uname -r; cat /proc/cpuinfo; lsmod; dmesg | tail -n 3; poweroff -f")
    stats = tmp_path / "stats.json"
    inn = [sys.executable, "-m", "innkeeper.cli", "run", "--engine", "interp", "--memory", "512"]
    files = ["--kernel", str(kernel.vmlinuz), "--initrd", str(archive), "--stats", str(stats)]

    done = subprocess.run(
        [*inn, *files, "--append", "console=ttyS0", "--timeout", str(LIMIT_S)],
        capture_output=True,
        check=False,
        timeout=LIMIT_S + 30,
        stdin=subprocess.DEVNULL,
    )

    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-2000:] + done.stderr.decode()
    assert f"\n{kernel.release}\r\n" in said
    assert said.count("processor\t: ") == 1
    assert "virtio_net" in said
    report = json.loads(stats.read_text())
    assert report["seconds"]["userspace"] < report["seconds"]["ended"]
    assert report["instructions"] > 100_000_000


def test_a_shell_with_two_processors_answers(kernel: KernelImage, initramfs: Initramfs) -> None:
    archive = initramfs("cd /root; setsid cttyhack sh -l; poweroff -f")
    console = MemoryConsole()
    with Machine(config(kernel, archive, vcpus=2), console=console) as machine:
        machine.start()
        console.wait_for(PROMPT, timeout_s=LIMIT_S)
        console.send(b"nproc; cat /sys/devices/system/cpu/online\n")
        answer = console.wait_for(PROMPT, timeout_s=60)
        console.send(b"sleep 1000\n")
        console.wait_for(b"sleep 1000\r\n", timeout_s=60)
        console.send(b"\x03")
        console.wait_for(PROMPT, timeout_s=60)
        console.send(b"exit\n")
        outcome = machine.wait(timeout_s=120)

    assert b"\r\n2\r\n0-1\r\n" in answer
    assert outcome.kind is OutcomeKind.POWERED_OFF


def test_a_reboot_starts_over(kernel: KernelImage, initramfs: Initramfs) -> None:
    archive = initramfs("echo BOOTED; reboot -f")
    console = MemoryConsole()
    with Machine(config(kernel, archive), console=console) as machine:
        machine.start()
        console.wait_for(b"\nBOOTED", timeout_s=LIMIT_S)
        console.wait_for(b"\nBOOTED", timeout_s=LIMIT_S)
        machine.stop()
        outcome = machine.wait(timeout_s=60)

    assert outcome.kind is OutcomeKind.STOPPED
    assert machine.statistics()["resets"] >= 1


def config(kernel: KernelImage, initrd: Path, vcpus: int = 1) -> MachineConfig:
    return MachineConfig(
        kernel=kernel.vmlinuz,
        initrd=initrd,
        append="console=ttyS0 quiet",
        memory_mib=256,
        vcpus=vcpus,
        engine=EngineChoice.INTERP,
        timeout_s=2 * LIMIT_S,
    )
