"""The live line: rates from ledgers, and when it is printed."""

import threading
from typing import Any

import pytest

from innkeeper.cli import live
from innkeeper.cli.live import LiveLine, live_statistics

LIMIT_S = 10.0


def ledger(*vcpus: dict[str, Any]) -> dict[str, Any]:
    return {"version": 1, "vcpus": list(vcpus)}


def line_between(before: dict[str, Any], after: dict[str, Any], seconds: float = 2.0) -> str:
    ledgers, times = iter((before, after)), iter((100.0, 100.0 + seconds))
    return LiveLine(lambda: next(ledgers), lambda: next(times))()


def test_rates_are_those_since_the_line_before_over_all_vcpus() -> None:
    before = ledger({"msr_reads": 1, "msr_writes": 2, "halts": 5}, {"msr_reads": 0, "msr_writes": 0, "halts": 0})
    after = ledger({"msr_reads": 21, "msr_writes": 6, "halts": 5}, {"msr_reads": 2, "msr_writes": 2, "halts": 0})

    assert line_between(before, after) == "    2.0 s  MSR   14  HLT    0"


def test_every_kind_has_its_column_and_columns_stay_in_line() -> None:
    names = [name for names in live.COLUMNS.values() for name in names if name != "other_exceptions"]
    nothing = {**dict.fromkeys(names, 0), "exceptions": {}}
    much = {**dict.fromkeys(names, 123456), "exceptions": {14: 9, 6: 40, 13: 20}}
    del nothing["instructions"], much["instructions"]  # bt does not count them

    one, other = line_between(ledger(nothing), ledger(nothing)), line_between(ledger(nothing), ledger(much))

    assert len(one) == len(other)
    places = [one.find(f"  {label} ") for label in live.COLUMNS if label != "INSN"]
    assert places == [other.find(f"  {label} ") for label in live.COLUMNS if label != "INSN"]
    assert places == sorted(places)
    assert min(places) > 0
    assert "s  CR  62k  MSR 123k  I/O 247k  " in other
    assert "  EXC   30  #PF  62k  " in other


def test_what_an_engine_does_not_count_is_not_shown() -> None:
    assert line_between(ledger({"port_reads": 0}), ledger({"port_reads": 4})) == "    2.0 s  I/O    2"


def test_instructions_are_shown_where_all_of_them_are_counted() -> None:
    before, after = {"instructions": 0, "blocks_translated": 0}, {"instructions": 5_000_000, "blocks_translated": 0}

    assert line_between(ledger(before), ledger(after)) == "    2.0 s  INSN 2.5M  XLAT    0"
    assert line_between(ledger(before), ledger({**after, "blocks_translated": 4})) == "    2.0 s  XLAT    2"


def test_a_machine_between_two_boards_has_nothing_to_tell_yet() -> None:
    assert line_between({}, ledger({"halts": 2})) == "    2.0 s  HLT    1"


def test_the_second_line_starts_where_the_first_one_ended() -> None:
    ledgers = iter([ledger({"halts": 0}), ledger({"halts": 10}), ledger({"halts": 11})])
    times = iter([0.0, 1.0, 2.0])
    line = LiveLine(lambda: next(ledgers), lambda: next(times))

    assert [line(), line()] == ["    1.0 s  HLT   10", "    2.0 s  HLT    1"]


def test_lines_are_printed_until_the_run_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    enough = threading.Event()

    def show(line: str) -> None:
        shown.append(line)
        if len(shown) == 3:
            enough.set()

    monkeypatch.setattr(live, "show", show)

    with live_statistics(lambda: ledger({"halts": 0}), 0.01):
        assert enough.wait(LIMIT_S)

    assert not [thread for thread in threading.enumerate() if thread.name == "live-statistics"]
    assert shown[0].endswith("  HLT    0")


def test_without_an_interval_nobody_counts() -> None:
    def never() -> dict[str, Any]:
        raise AssertionError("asked for statistics")

    with live_statistics(never, None):
        pass


def test_a_reader_that_has_left_ends_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def show(_line: str) -> None:
        asked.set()
        raise BrokenPipeError

    monkeypatch.setattr(live, "show", show)

    with live_statistics(lambda: ledger({"halts": 0}), 0.01):
        assert asked.wait(LIMIT_S)
