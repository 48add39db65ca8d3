"""The footprint benchmark: what it counts as the process's own memory, and its speaking kernel."""

from pathlib import Path

import pytest
from tests.firmware.conftest import bzimage

ROOT = Path(__file__).resolve().parents[2]
SMAPS = """\
7f0000000000-7f001ffe0000 rw-p 00000000 00:00 0
Rss:              102400 kB
Pss:              102400 kB
7f0020000000-7f0020100000 rw-p 00000000 00:00 0
Rss:                1024 kB
55d000000000-55d000400000 r-xp 00000000 fe:00 12   /usr/bin/python3
Rss:                2048 kB
"""


@pytest.fixture(autouse=True)
def bench_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benches/footprint")


def test_the_guests_memory_is_not_the_process_own() -> None:
    from footprint import parse

    moment = parse(SMAPS)

    assert (moment.own, moment.guest) == (3.0, 100.0)


def test_a_speaking_kernel_is_as_large_and_starts_at_once(tmp_path: Path) -> None:
    from footprint import first_instruction_ms, inn_run, speak_first

    kernel = bzimage(bytes(64 << 10))
    speaking, initrd = tmp_path / "vmlinuz", tmp_path / "initrd"
    speaking.write_bytes(speak_first(kernel))
    initrd.write_bytes(b"unread")

    assert len(speaking.read_bytes()) == len(kernel)
    assert 0 < first_instruction_ms(inn_run(speaking, initrd)) < 30_000


def test_a_kernel_that_does_not_speak_is_no_measurement(tmp_path: Path) -> None:
    from footprint import BenchError, first_instruction_ms, inn_run

    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"unread")

    with pytest.raises(BenchError):
        first_instruction_ms(inn_run(tmp_path / "absent", initrd))


def test_the_page_has_the_median_start_and_each_peak() -> None:
    from footprint import Resident, render

    page = render([250.0, 100.0, 150.0], {1: Resident(42, 99), 2: Resident(53, 98)})

    assert "median of 3 | 150 ms (best 100, worst 250) | at most 300 ms |" in page
    assert "peak of a boot with 2 vCPUs | 53 MiB (guest's then: 98 MiB) | at most 150 MiB |" in page
