"""Figures become rates, and rates a table."""

import json
from typing import Any, cast

import pytest

from innkeeper.cli import main
from innkeeper.errors import HostError
from innkeeper.top.rates import SHUT_OFF, Look, between, collect, look_of, rates_of
from innkeeper.top.table import BY_WORD, arranged, as_text, exits

S = 1_000_000_000
FIGURES: dict[str, Any] = {
    "vcpus": [{}, {}],
    "vcpus_maximum": 4,
    "memory": {"current_kib": 2048, "resident_kib": 1024},
    "cpu_time_ns": S,
    "disks": [{"rd_bytes": 10, "wr_bytes": 20}, {"rd_bytes": 1, "wr_bytes": 2}],
    "cards": [{"rx_bytes": 5, "tx_bytes": 6}],
    "exits": {"port_reads": 3, "mmio_writes": 4, "halts": 1, "instructions": 10**9},
}


def look(name: str, at_s: float, **values: Any) -> Look:
    return Look(name, "running", int(at_s * S), **{"process": 7, "vcpus": 1} | values)


def test_figures_of_disks_cards_and_counters_are_added_up() -> None:
    found = look_of("web", "running", 7, FIGURES)
    assert (found.vcpus, found.vcpus_maximum, found.guest_kib, found.resident_kib) == (2, 4, 2048, 1024)
    assert found.cpu_ns == S
    assert (found.read_bytes, found.written_bytes, found.received_bytes, found.sent_bytes) == (11, 22, 5, 6)
    assert {kind: count for kind, count in found.exits.items() if count} == {"devices": 7, "halts": 1}


class Manager:
    """With machines that run, that do not, and one that ends just now."""

    def __init__(self) -> None:
        self.domains = self.hardware = self

    def all(self) -> list[dict[str, Any]]:
        states = {"web": "running", "off": SHUT_OFF, "gone": "running", "still": "paused"}
        return [{"name": name, "state": state, "id": 7} for name, state in states.items()]

    def figures(self, name: str) -> dict[str, Any]:
        if name == "gone":
            raise HostError("machine gone does not run")
        return FIGURES


def test_a_machine_that_ends_meanwhile_has_no_figures() -> None:
    found = collect(cast("Any", Manager()))
    assert [(one.name, one.state, one.vcpus) for one in found] == [
        ("web", "running", 2),
        ("off", SHUT_OFF, 0),
        ("gone", "running", 0),
        ("still", "paused", 2),
    ]


def test_rates_are_what_happened_in_a_second() -> None:
    first = look("web", 1, cpu_ns=S, read_bytes=100, exits={"halts": 10})
    second = look("web", 3, cpu_ns=4 * S, read_bytes=300, sent_bytes=8, exits={"halts": 30, "msr": 2})
    rates = rates_of(first, second)
    assert (rates.cpu_percent, rates.read, rates.sent, rates.exits) == (150.0, 100.0, 4.0, 11.0)
    assert exits(rates) == "halts 10  msr 1"


@pytest.mark.parametrize("before", [None, look("web", 1, process=8, cpu_ns=S), look("web", 3, cpu_ns=0)])
def test_a_machine_that_was_not_there_has_no_rates_yet(before: Look | None) -> None:
    assert rates_of(before, look("web", 2, cpu_ns=5 * S)).cpu_percent == 0


def test_a_counter_that_starts_anew_is_no_negative_rate() -> None:
    assert rates_of(look("web", 1, cpu_ns=5 * S), look("web", 2, cpu_ns=S)).cpu_percent == 0


def test_tables_are_sorted_and_filtered() -> None:
    then = [look("a", 1), look("b", 1), look("web", 1)]
    now = [
        look("a", 2, cpu_ns=S // 2),
        look("b", 2, cpu_ns=S, vcpus_maximum=4),
        look("web", 2),
        Look("off", SHUT_OFF, 0),
    ]
    found = between(then, now)

    def names(word: str, **how: Any) -> list[str]:
        return [one.name for one in arranged(found, BY_WORD[word], **how)]

    assert names("cpu") == ["b", "a", "off", "web"]
    assert names("cpu", upwards=True) == ["off", "web", "a", "b"]
    assert names("name") == ["a", "b", "off", "web"]
    assert names("name", words="WE") == ["web"]
    assert names("name", idle=False) == ["a", "b", "web"]
    lines = as_text(arranged(found, BY_WORD["name"])).splitlines()
    assert lines[0].split() == [
        "Name", "State", "vCPUs", "CPU", "%", "Memory", "Resident", "Read/s", "Write/s", "Rx/s", "Tx/s", "Exits/s", "by", "kind",
    ]  # fmt: skip
    assert lines[1].split()[:4] == ["a", "running", "1", "50.0"]
    assert lines[2].split()[:3] == ["b", "running", "1/4"]
    assert lines[3].split() == ["off", "shut", "off", *"---------"]


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--delay", "0"], "delay is 0 s; it must be between 0.1 and 3600"),
        (["--iterations", "0"], "iterations is 0; it must be at least 1"),
    ],
)
def test_mistakes_are_named(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", *words]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.usefixtures("user")
def test_nothing_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--json", "--delay", "0.1"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["top", "--once", "--delay", "0.1"]) == 0
    assert capsys.readouterr().out.startswith("Name  State")
    assert main(["top", "--batch", "--iterations", "2", "--delay", "0.1"]) == 0
    assert capsys.readouterr().out.count("Name") == 2
