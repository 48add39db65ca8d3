"""The stress guest: busybox, stress-ng, programs of our own, and the modules that it loads and unloads."""

import shutil
import subprocess
from pathlib import Path

from innkeeper.image import InitramfsRecipe, KernelImage
from innkeeper.image.cache import write_file
from innkeeper.image.initramfs import assemble, fetch_busybox

from .libraries import program_with_libraries

GUEST = Path(__file__).parent / "guest"
PLACE = "/stress"  # in the guest
PROGRAMS = ("bpf", "code", "faults", "steps", "threads")
COMPILE = ("gcc", "-O2", "-static", "-pthread", "-Wall", "-Wextra", "-Werror")


def can_compile() -> bool:
    return shutil.which("gcc") is not None


def words(file: str) -> list[str]:
    """The first word of each line of a list in the guest's folder."""
    return [line.split()[0] for line in (GUEST / file).read_text().splitlines()]


def build_stress_guest(kernel: KernelImage, folder: Path) -> Path:
    """The archive, in `folder`. Raises `ImageError` if there is no package to be had.

    It is not compressed: the guest would spend seconds on that at every boot.
    """
    programs = compile_programs(folder / "programs")
    lists = [(GUEST / name, f"{PLACE}/{name}") for name in ("modules", "classes")]
    recipe = InitramfsRecipe(
        init=GUEST / "init",
        modules=tuple(words("modules")),
        modules_directory=kernel.modules,
        files=(
            *lists,
            *((program, f"{PLACE}/{program.name}") for program in programs),
            (program_with_libraries("stress-ng", "usr/bin/stress-ng"), "/"),
        ),
    )
    return write_file(folder / f"stress-{kernel.release}.cpio", assemble(recipe, fetch_busybox()))


def compile_programs(folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name in PROGRAMS:
        command = [*COMPILE, str(GUEST / f"{name}.c"), "-o", str(folder / name)]
        subprocess.run(command, check=True, capture_output=True, text=True)
    return [folder / name for name in PROGRAMS]
