"""What the repository shows its users: the init scripts of its demo, and the program in its Python guide."""

import re
from pathlib import Path

import pytest

from innkeeper import EngineChoice, Machine, MachineConfig, MemoryConsole, OutcomeKind
from innkeeper.image import InitramfsRecipe, KernelImage, build_initramfs

from .inn import ANSWER_S, APPEND, LIMIT_S, ended, guest, inn_run

pytestmark = [pytest.mark.boot, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
PROMPT = b"/root # "


def archive(folder: Path, init: Path | None = None) -> Path:
    return build_initramfs(InitramfsRecipe(init=init), folder / "initramfs.cpio.gz")


def test_the_tour_shows_the_guest_and_powers_off(debian: KernelImage, tmp_path: Path) -> None:
    initrd = archive(tmp_path, ROOT / "examples/tour.init")

    done = inn_run(*guest(debian.vmlinuz, initrd, append="console=ttyS0"))

    assert done.status == 0, done.said[-2000:] + done.complaint
    assert f"\nLinux (none) {debian.release} #1 SMP" in done.said
    assert done.said.count("\nprocessor\t: ") == 1
    assert done.said.count("Run /init as init process") == 2, "once from the kernel, once from dmesg"


def test_the_shell_answers_a_program(debian: KernelImage, tmp_path: Path) -> None:
    config = MachineConfig(
        kernel=debian.vmlinuz,
        initrd=archive(tmp_path, ROOT / "examples/shell.init"),
        append=APPEND,
        vcpus=2,
        engine=EngineChoice.INTERP,
        timeout_s=2 * LIMIT_S,
    )
    console = MemoryConsole()
    with Machine(config, console=console) as machine:
        machine.start()
        console.wait_for(PROMPT, timeout_s=LIMIT_S)
        console.send(b"nproc\n")
        answer = console.wait_for(PROMPT, timeout_s=ANSWER_S)
        console.send(b"exit\n")
        outcome = ended(machine, console, ANSWER_S)

    assert b"nproc\r\n2\r\n" in answer
    assert outcome.kind is OutcomeKind.POWERED_OFF


def test_the_program_in_the_python_guide_runs(
    debian: KernelImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = (ROOT / "docs/guide/python.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```", guide, re.DOTALL | re.MULTILINE)
    (tmp_path / "vmlinuz").symlink_to(debian.vmlinuz)
    archive(tmp_path)
    monkeypatch.chdir(tmp_path)

    exec(compile(program, "python.md", "exec"), {})

    assert debian.release in capsys.readouterr().out
