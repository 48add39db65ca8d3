"""Ledgers added up, and what a run's report says."""

from pathlib import Path

import pytest

from innkeeper.errors import HostError
from innkeeper.machine import statistics
from innkeeper.machine.timeline import ConsoleTap, Timeline


def test_ledgers_add_up_number_by_number() -> None:
    first = {"vcpus": [{"instructions": 5, "ports": {"in 0x3fd": 1}}], "name": "a", "on": True}
    second = {"vcpus": [{"instructions": 7, "ports": {"in 0x3fd": 2, "out 0x80": 3}}], "name": "b", "on": True}

    total = statistics.merge((first, second))

    assert total == {
        "vcpus": [{"instructions": 12, "ports": {"in 0x3fd": 3, "out 0x80": 3}}],
        "name": "b",
        "on": True,
    }
    assert first["vcpus"] == [{"instructions": 5, "ports": {"in 0x3fd": 1}}]


def test_the_speed_is_that_of_the_time_the_guest_ran() -> None:
    report = statistics.report({"vcpus": [{"instructions": 30_000_000}] * 2}, {"started": 1.0, "ended": 3.0})

    assert (report["instructions"], report["mips"]) == (60_000_000, 30.0)


def test_a_run_that_never_started_has_no_speed() -> None:
    assert statistics.report({}, {})["mips"] == 0.0


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="is a directory"):
        statistics.check_writable(tmp_path)
    with pytest.raises(HostError, match="is a directory"):
        statistics.write(tmp_path, {})


class Sink:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes, /) -> None:
        self.data += data


def test_a_phase_counts_when_it_is_first_reached() -> None:
    times = iter([10.0, 11.0, 12.0, 13.0])
    timeline = Timeline(lambda: next(times))

    for _ in range(3):
        timeline.mark("built")

    assert timeline.seconds() == {"built": 1.0}


def test_the_tap_passes_everything_on_and_notices_init() -> None:
    sink, timeline = Sink(), Timeline()
    tap = ConsoleTap(sink, timeline)
    said = b"hello\n" + b"x" * 2000 + b"\nRun /init as init process\nand on"

    for byte in said:
        tap.write(bytes((byte,)))

    assert sink.data == said
    assert set(timeline.seconds()) == {"first_output", "userspace"}


def test_no_announcement_means_no_userspace() -> None:
    timeline = Timeline()
    tap = ConsoleTap(Sink(), timeline)

    for byte in b"init process\nas\n":
        tap.write(bytes((byte,)))

    assert set(timeline.seconds()) == {"first_output"}
