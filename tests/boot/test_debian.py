"""Debian's own kernel on the interpreter, driven as a user would: by `inn run` and by the Python API."""

import json
import re
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
ROOT = Path(__file__).resolve().parents[2]
Initramfs = Callable[[Path | None], Path]


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
    """Builds one with the given init script, or the default one, and a kernel module with dependencies."""

    def build(init: Path | None) -> Path:
        recipe = InitramfsRecipe(init=init, modules=("virtio_net",), modules_directory=kernel.modules)
        return build_initramfs(recipe, tmp_path / "initramfs.cpio.gz")

    return build


def test_inn_run_shows_the_guest_and_powers_off(kernel: KernelImage, initramfs: Initramfs, tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    inn = [sys.executable, "-m", "innkeeper.cli", "run", "--engine", "interp", "--memory", "512"]
    files = ["--kernel", str(kernel.vmlinuz), "--initrd", str(initramfs(ROOT / "examples/tour.init"))]

    done = subprocess.run(
        [*inn, *files, "--stats", str(stats), "--append", "console=ttyS0", "--timeout", str(LIMIT_S)],
        capture_output=True,
        check=False,
        timeout=LIMIT_S + 30,
        stdin=subprocess.DEVNULL,
    )

    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-2000:] + done.stderr.decode()
    assert f"Linux (none) {kernel.release} #1 SMP" in said
    assert said.count("\nprocessor\t: ") == 1
    assert said.count("Run /init as init process") == 2, "once from the kernel, once from dmesg"
    report = json.loads(stats.read_text())
    assert report["seconds"]["userspace"] < report["seconds"]["ended"]
    assert report["instructions"] > 100_000_000


def test_a_shell_on_two_processors_has_job_control(kernel: KernelImage, initramfs: Initramfs) -> None:
    archive = initramfs(ROOT / "examples/shell.init")
    console = MemoryConsole()
    with Machine(config(kernel, archive, vcpus=2), console=console) as machine:
        machine.start()
        console.wait_for(PROMPT, timeout_s=LIMIT_S)
        console.send(b"nproc; cat /sys/devices/system/cpu/online; lsmod\n")
        answer = console.wait_for(PROMPT, timeout_s=60)
        console.send(b"sh -c 'echo NOW; sleep 1000'\n")
        console.wait_for(b"\r\nNOW\r\n", timeout_s=60)  # from here on ^C is a signal, not a key of the shell's editor
        console.send(b"\x03")
        console.wait_for(PROMPT, timeout_s=60)
        console.send(b"exit\n")
        outcome = machine.wait(timeout_s=120)

    assert b"\r\n2\r\n0-1\r\n" in answer
    assert b"virtio_net" in answer
    assert outcome.kind is OutcomeKind.POWERED_OFF


def test_a_reboot_starts_over(kernel: KernelImage, initramfs: Initramfs, tmp_path: Path) -> None:
    init = tmp_path / "init"
    init.write_text("#!/bin/sh\n. /etc/innkeeper/setup\necho BOOTED\nreboot -f\n")
    console = MemoryConsole()
    with Machine(config(kernel, initramfs(init)), console=console) as machine:
        machine.start()
        console.wait_for(b"\nBOOTED", timeout_s=LIMIT_S)
        console.wait_for(b"\nBOOTED", timeout_s=LIMIT_S)
        machine.stop()
        outcome = machine.wait(timeout_s=60)

    assert outcome.kind is OutcomeKind.STOPPED
    assert machine.statistics()["resets"] >= 1


def test_the_program_in_the_python_guide_runs(
    kernel: KernelImage,
    initramfs: Initramfs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (program,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/guides/python.md").read_text(), re.DOTALL | re.MULTILINE
    )
    (tmp_path / "vmlinuz").symlink_to(kernel.vmlinuz)
    initramfs(None)
    monkeypatch.chdir(tmp_path)

    exec(compile(program, "python.md", "exec"), {})

    assert kernel.release in capsys.readouterr().out


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
