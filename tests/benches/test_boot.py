"""The boot benchmark: what it measures of a process, and the page that it renders."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def bench_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benches/boot")


def test_a_boot_is_timed_to_its_marker_and_its_end() -> None:
    from measure import boot

    script = "import time; time.sleep(0.1); ram = bytearray(64 << 20); print('INNKEEPER-USERSPACE', flush=True); time.sleep(0.1)"
    run = boot([sys.executable, "-c", script], memory_mib=64)

    assert 0.1 < run.userspace_s < run.ended_s
    assert run.ended_s - run.userspace_s > 0.05
    assert 1 < run.beside_guest_mib < 60, "the 64 MiB that stand for guest memory do not count"


@pytest.mark.parametrize("script", ["print('something else')", "print('INNKEEPER-USERSPACE'); exit(3)"])
def test_a_boot_that_went_wrong_is_no_measurement(script: str) -> None:
    from measure import BenchError, boot

    with pytest.raises(BenchError):
        boot([sys.executable, "-c", script], memory_mib=64)


def test_the_page_has_the_ratio_of_pairs() -> None:
    from bench import INNKEEPER, QEMU, render
    from measure import Boot, Guest

    def runs(*seconds: float) -> list[Boot]:
        return [Boot(userspace_s=s, ended_s=s + 1, cpu_s=s, beside_guest_mib=100) for s in seconds]

    guest = Guest(kernel=Path("vmlinuz-9"), initrd=Path("i"), memory_mib=64)
    ledgers = [{"mips": 70.0, "instructions": 1_500_000_000}] * 2
    boots = {INNKEEPER: runs(10, 30), QEMU: runs(2, 5)}

    page = render(boots, ledgers, [0.1, 0.2, 0.3], guest, about="a machine")

    assert "| wall time to userspace, ours to QEMU's, median of pairs | 5.5 × |" in page
    assert "| innkeeper interp | 20.00 s | 10.00 s | 30.00 s | 21.00 s |" in page
    assert "| from `inn run` to a tiny guest's first byte, median | 200 ms |" in page
