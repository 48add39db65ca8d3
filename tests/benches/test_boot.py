"""The boot benchmark: what it measures of a process, and the page that it renders."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from measure import Boot

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


def runs(*seconds: float) -> "list[Boot]":
    from measure import Boot

    return [Boot(userspace_s=s, ended_s=s + 1, cpu_s=s, beside_guest_mib=100) for s in seconds]


def test_the_page_has_the_ratio_of_pairs_for_each_engine() -> None:
    from bench import render
    from measure import Guest, Measured

    guest = Guest(kernel=Path("vmlinuz-9"), initrd=Path("i"), memory_mib=64)
    ledgers = [{"mips": 70.0, "instructions": 1_500_000_000}] * 2
    engines = {
        "bt": Measured(runs(1, 4), ledgers, [0.3, 0.2]),
        "interp": Measured(runs(10, 30), ledgers, [0.1, 0.3]),
    }

    page = render(engines, runs(2, 5), guest, about="a machine")

    wall = "wall time to userspace, ours to QEMU's, median of pairs"
    assert f"| bt | {wall} | 0.65 × | at most 1 × | at most 0.6 × | met |" in page
    assert f"| interp | {wall} | 5.50 × | at most 12 × |  | met |" in page
    assert "| innkeeper interp | 20.00 s | 10.00 s | 30.00 s | 21.00 s |" in page
    assert "| interp | guest instructions a second | 70 million | at least 60 million |  | met |" in page
    assert "| bt | from `inn run` to a tiny guest's first byte, median | 250 ms | at most 300 ms |  | met |" in page


def test_what_translating_cost_is_added_up_over_vcpus() -> None:
    from bars import judge
    from measure import Measured

    vcpu = {"blocks_translated": 100, "translation_ns": 700_000, "guest_code_bytes": 2000, "host_code_bytes": 14_000}
    ledger = {"instructions": 0, "vcpus": [vcpu, vcpu]}

    rows = "".join(judged.row() for judged in judge("bt", Measured(runs(3), [ledger], [0.1]), runs(2)))

    assert "translating a block, mean | 7.0 µs | at most 10 µs | at most 5 µs | met |" in rows
    assert "bytes of host code for one of the guest's | 7.0 bytes | at most 6 bytes |  | **not met** |" in rows
    assert (
        "wall time to userspace, ours to QEMU's, median of pairs | 1.50 × | at most 1 × | at most 0.6 × | **not met**"
        in rows
    )
    assert "instructions" not in rows, "translated code does not count them"


def test_an_engine_that_does_not_translate_has_no_such_rows() -> None:
    from bars import judge
    from measure import Measured

    ledger = {"mips": 70.0, "instructions": 1, "vcpus": [{"instructions": 1}]}

    rows = "".join(judged.row() for judged in judge("interp", Measured(runs(3), [ledger], [0.1]), runs(2)))

    assert "translat" not in rows
