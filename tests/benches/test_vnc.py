"""The VNC benchmark measures what it says, and judges it by its goal."""

import pytest
from benches.vnc import vnc


@pytest.mark.slow
def test_a_change_is_timed_until_its_last_byte() -> None:
    row = vnc.latencies("tight", "text", vnc.texts(), 3)

    assert len(row.times_ms) == 3
    assert all(0 < time < 5000 for time in row.times_ms)
    assert row.bytes_received > 10_000


def test_the_page_says_what_was_met() -> None:
    rows = [
        vnc.Row("tight", "text", [20.0] * 100, 300_000),
        vnc.Row("zrle", "text", [20.0] * 90 + [80.0] * 10, 300_000),
        vnc.Row("raw", "text", [70.0] * 100, 300_000),
    ]
    page = vnc.page(rows, {"innkeeper": (0.001, 0.0), "qemu": (0.0001, 0.0)})

    verdicts = [line.split("|")[-2].strip() for line in page.splitlines() if "at most 50 ms" in line]
    assert verdicts == ["met", "met by the median", "**not met**"]
    assert "| innkeeper | 0.100% | 0.000% |" in page
    assert "| qemu | 0.010% | 0.000% |" in page
