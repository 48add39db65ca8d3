"""Tiny guests, one processor behaviour each: what they print is what hardware prints.

`golden/NAME.txt` is the truth, by the manuals; every engine that can run a guest here must print it. QEMU
runs the same images as a second opinion: `golden/NAME.qemu` lists, line by line, where its TCG is known
to differ from hardware.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.engines import SOFTWARE, skip_unless_available

from innkeeper import Machine, MachineConfig, MemoryConsole, OutcomeKind
from innkeeper._core import kvm_probe
from innkeeper.config import EngineChoice

HERE = Path(__file__).parent
SOURCES = sorted(HERE.glob("*.c"))
GOLDEN = HERE / "golden"
# What a guest that tries everything asks of a KVM.
WHOLE_KVM = ("ring0_native", "syscall", "paging_32bit", "int3", "cpuid_masking")
PASSED = 1  # what the debug-exit port makes of status 0


def processors(source: Path) -> int:
    """The guest's first line says how many it wants."""
    match = re.search(r"cpus: (\d+)", source.read_text().splitlines()[0])
    return int(match[1]) if match else 1


def needs_whole_kvm(source: Path) -> bool:
    """Unless the guest's first line says that any KVM will do."""
    return "kvm: any" not in source.read_text().splitlines()[0]


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("gcc") or not shutil.which("objcopy"):
        pytest.skip("gcc and objcopy (Debian packages gcc and binutils) build the tiny guests")
    folder = tmp_path_factory.mktemp("guests")
    subprocess.run([HERE / "build.sh", folder], check=True, capture_output=True, text=True)
    return folder


def run(image: Path, engine: EngineChoice, vcpus: int) -> tuple[str, int | None]:
    config = MachineConfig(
        kernel=image, engine=engine, vcpus=vcpus, memory_mib=64, timeout_s=60, debug_exit=True, no_reboot=True
    )
    console = MemoryConsole()
    with Machine(config, console=console) as machine:
        machine.start()
        outcome = machine.wait()
    assert outcome.kind is OutcomeKind.EXITED, f"{outcome}; it printed:\n{console.text}"
    return console.text, outcome.status


@pytest.mark.parametrize("engine", SOFTWARE, ids=str)
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_our_engines_print_what_hardware_prints(source: Path, engine: EngineChoice, images: Path) -> None:
    skip_unless_available(engine)

    text, status = run(images / f"{source.stem}.elf", engine, processors(source))

    assert text == (GOLDEN / f"{source.stem}.txt").read_text()
    assert status == PASSED


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_kvm_prints_the_same(source: Path, images: Path) -> None:
    probe = kvm_probe()
    if not probe["usable"] or (needs_whole_kvm(source) and not all(probe[key] for key in WHOLE_KVM)):
        pytest.skip(f"this host's KVM cannot run it: {probe['why']}")

    text, status = run(images / f"{source.stem}.elf", EngineChoice.KVM, processors(source))

    assert text == (GOLDEN / f"{source.stem}.txt").read_text()
    assert status == PASSED


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_qemu_differs_only_where_it_is_known_to(source: Path, images: Path) -> None:
    if "qemu: hangs" in source.read_text().splitlines()[0]:
        pytest.skip("TCG accepts what this guest tries, and hangs")
    qemu = shutil.which("qemu-system-x86_64")
    if not qemu:
        pytest.skip("qemu-system-x86_64 (Debian package qemu-system-x86) gives the second opinion")
    command = [qemu, "-accel", "tcg", "-cpu", "max", "-smp", str(processors(source)), "-display", "none", "-no-reboot"]
    command += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-serial", "stdio"]
    command += ["-kernel", str(images / f"{source.stem}.elf")]
    said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)

    golden = (GOLDEN / f"{source.stem}.txt").read_text().splitlines()
    known = GOLDEN / f"{source.stem}.qemu"
    allowed = set(known.read_text().splitlines()) if known.exists() else set()
    different = [line for line in said.stdout.replace("\r", "").splitlines() if line not in golden]
    assert set(different) == allowed
