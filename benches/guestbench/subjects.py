"""Who is measured, and how each is started: the host itself, Innkeeper, and QEMU's TCG with two processor models."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benches.guestbench.transcript import BenchError

from innkeeper.image import InitramfsRecipe, build_initramfs, fetch_kernel

HERE = Path(__file__).resolve().parent
OURS, TCG_MAX, TCG_DEFAULT, NATIVE = "ours", "tcg-max", "tcg-default", "native"
# In the order of a turn: what is most likely to go wrong comes first.
SUBJECTS = (OURS, TCG_MAX, TCG_DEFAULT, NATIVE)
CPU_MODELS: dict[str, list[str]] = {TCG_MAX: ["-cpu", "max"], TCG_DEFAULT: []}
MEMORY_MIB = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The programs and the guest that all subjects run."""

    gb: Path
    parallel: Path
    kernel: Path
    initrd: Path
    engine: str

    def rows_command(self, subject: str, seconds: float, prefixes: list[str]) -> list[str]:
        """`gb` on one processor: as a process of the host, or as a guest's init."""
        if subject == NATIVE:
            return [str(self.gb), "-t", str(seconds), *prefixes]
        chosen = [f"gb.only={','.join(prefixes)}"] if prefixes else []
        append = " ".join(["console=ttyS0", "quiet", f"gb.t={seconds}", *chosen])
        return self._inn(append, vcpus=1) if subject == OURS else self._qemu(append, CPU_MODELS[subject])

    def parallel_command(self, subject: str, seconds: float, workers: int) -> list[str]:
        """`parallel`, with as many processors as workers."""
        if subject == NATIVE:
            return [str(self.parallel), str(seconds), str(workers)]
        return self._inn(f"console=ttyS0 quiet rdinit=/parallel -- {seconds} {workers}", vcpus=workers)

    def _inn(self, append: str, *, vcpus: int) -> list[str]:
        inn = [sys.executable, "-m", "innkeeper.cli", "run", "--engine", self.engine, "--no-reboot"]
        machine = ["--memory", str(MEMORY_MIB), "--vcpus", str(vcpus)]
        return [*inn, *machine, "--kernel", str(self.kernel), "--initrd", str(self.initrd), "--append", append]

    def _qemu(self, append: str, cpu: list[str]) -> list[str]:
        qemu = ["qemu-system-x86_64", "-accel", "tcg", *cpu, "-M", "pc", "-m", str(MEMORY_MIB), "-smp", "1"]
        machine = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]
        return [*qemu, *machine, "-kernel", str(self.kernel), "-initrd", str(self.initrd), "-append", append]


def prepare(directory: Path, engine: str, kernel: Path | None) -> Setting:
    """Builds the programs and the guest that holds them."""
    built = subprocess.run([HERE / "build.sh", directory], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        raise BenchError(f"cannot build the guest's programs: {built.stderr.strip()}")
    gb, parallel = directory / "gb", directory / "parallel"
    recipe = InitramfsRecipe(init=gb, files=((parallel, "/parallel"),))
    initrd = build_initramfs(recipe, directory / "guestbench.cpio.gz")
    return Setting(gb=gb, parallel=parallel, kernel=kernel or fetch_kernel().vmlinuz, initrd=initrd, engine=engine)
