"""How a run of Debian's kernel ends: reboot, halt, time limit."""

import json
import signal
from pathlib import Path

import pytest

from innkeeper.cli.status import Status
from innkeeper.config import EngineChoice
from innkeeper.image import KernelImage

from .conftest import Initramfs
from .inn import APPEND, LIMIT_S, guest, inn_piped, inn_run

pytestmark = [pytest.mark.boot, pytest.mark.slow]

REBOOT = "echo INIT RUNS; reboot -f"


def test_a_reboot_starts_over(debian: KernelImage, initramfs: Initramfs, tmp_path: Path, engine: EngineChoice) -> None:
    stats = tmp_path / "stats.json"
    with inn_piped(*guest(debian.vmlinuz, initramfs(REBOOT), engine=engine), "--stats", str(stats)) as run:
        for _ in range(2):
            run.line.wait_for("Linux version", limit_s=LIMIT_S)
            run.line.wait_for("Run /init", limit_s=LIMIT_S)
        run.signal(signal.SIGTERM)

        assert run.status() == -signal.SIGTERM
        assert run.has_left_nothing()
    report = json.loads(stats.read_text())
    assert (report["outcome"], report["resets"]) == ("stopped", 1)


@pytest.mark.parametrize(
    ("way", "sentence"),
    [
        ("acpi", "the guest asked for a reset"),
        ("triple", "the guest's processor shut down by a triple fault"),
    ],
)
def test_a_reboot_ends_a_run_without_reboot(debian: KernelImage, initramfs: Initramfs, way: str, sentence: str) -> None:
    done = inn_run(*guest(debian.vmlinuz, initramfs(REBOOT), append=f"{APPEND} reboot={way}"), "--no-reboot")

    assert done.status == Status.RESET
    assert done.said.count("\nINIT RUNS\n") == 1
    assert done.error == sentence


def test_a_halt_is_the_end_as_well(debian: KernelImage, initramfs: Initramfs, engine: EngineChoice) -> None:
    done = inn_run(*guest(debian.vmlinuz, initramfs("halt -f"), engine=engine), "--vcpus", "2")

    assert done.status == Status.HALTED
    assert "reboot: System halted" in done.said
    assert done.error == "the guest halted for good: every processor sleeps with interrupts off"


def test_a_time_limit_ends_a_boot(debian: KernelImage, initramfs: Initramfs) -> None:
    done = inn_run(*guest(debian.vmlinuz, initramfs(REBOOT)), limit_s=0.5)

    assert done.status == Status.TIMEOUT
    assert done.error == "the time limit passed"
