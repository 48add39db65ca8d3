"""The guest benchmark: what it hears, what it refuses, and the arithmetic of its page."""

import sys
from pathlib import Path

import pytest
from benches.guestbench.bench import subjects
from benches.guestbench.page import judgements, render
from benches.guestbench.rows import CALLS, INTEGER, Row, clock_drifts, judge, tabulate
from benches.guestbench.scaling import Scaling
from benches.guestbench.subjects import NATIVE, OURS, TCG_DEFAULT, TCG_MAX, Setting
from benches.guestbench.transcript import BenchError, Clock, Run, Transcript, agree, execute

GOOD = """
[    1.0] a kernel speaks, as it pleases
GBI clocksource tsc
GBC int_fib 4f47
GBM start int_fib
GBM end int_fib 500000000 7
GB int_fib 200 Mcall/s
GB_DONE
"""


def program(said: str, status: int = 0) -> list[str]:
    return [sys.executable, "-c", f"print({said!r}); exit({status})"]


def row(name: str, unit: str, ours: float, tcg_max: float, tcg_default: float, native: float) -> Row:
    medians = {OURS: ours, TCG_MAX: tcg_max, TCG_DEFAULT: tcg_default, NATIVE: native}
    return Row(name=name, unit=unit, medians=medians)


def run_of(**values: float) -> Run:
    return Run(values=values, units=dict.fromkeys(values, "MB/s"))


def test_a_run_is_heard_line_by_line() -> None:
    transcript = Transcript("ours")
    for second, line in enumerate(GOOD.splitlines()):
        transcript.hear(line, float(second))

    assert transcript.done
    assert transcript.run.values == {"int_fib": 200}
    assert transcript.run.units == {"int_fib": "Mcall/s"}
    assert transcript.run.sums == {"int_fib": "4f47"}
    assert transcript.run.clocks == {"int_fib": Clock(host_s=1.0, own_s=0.5)}
    assert transcript.run.remarks == ["clocksource tsc"]


def test_a_command_that_finishes_is_a_run() -> None:
    assert execute("ours", program(GOOD)).values == {"int_fib": 200}


@pytest.mark.parametrize(
    ("said", "status", "complaint"),
    [
        (GOOD.replace("GB_DONE", "Kernel panic"), 0, "without .'GB_DONE'.*\n.*panic"),
        (GOOD, 3, "ended with 3"),
        (GOOD.replace("200 Mcall/s", "FAIL"), 0, "without .'int_fib'"),
        (GOOD.replace("GB int", "[    5.1] a kernel speaks GB int"), 0, "without .'int_fib'"),
        (GOOD.replace("200", "2.0[    5.1]"), 0, "ours said 'GB int_fib 2.0"),
        (GOOD.replace("GBM start int_fib", ""), 0, "ours said 'GBM end"),
    ],
    ids=["no end", "status", "failed row", "hidden row", "garbled number", "lost marker"],
)
def test_a_run_that_went_wrong_is_no_measurement(said: str, status: int, complaint: str) -> None:
    with pytest.raises(BenchError, match="(?s)" + complaint):
        execute("ours", program(said, status))


def test_a_run_that_hangs_is_ended_with_all_that_it_started() -> None:
    hanging = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"

    with pytest.raises(BenchError, match="ended with -9, without"):
        execute("ours", [sys.executable, "-c", hanging], limit_s=0.5)


def test_other_sums_or_other_rows_are_refused() -> None:
    good = Run(values={"int_fib": 1.0}, sums={"int_fib": "4f47"})
    wrong = Run(values={"int_fib": 1.0}, sums={"int_fib": "4f48"})
    short = Run()

    agree("ours", good, "native", good)
    with pytest.raises(BenchError, match="ours and native computed different checksums: int_fib: 4f48 and 4f47"):
        agree("ours", wrong, "native", good)
    with pytest.raises(BenchError, match="only one of them has"):
        agree("ours", short, "native", good)


def test_speed_is_over_the_faster_tcg_whatever_the_unit() -> None:
    rate = row("int_sieve", "sieve/s", ours=300, tcg_max=100, tcg_default=150, native=600)
    time = row("sys_fork", "us/fork", ours=50, tcg_max=200, tcg_default=100, native=25)

    assert (rate.over_tcg, rate.slowdown) == (2.0, 2.0)
    assert (time.over_tcg, time.slowdown) == (2.0, 2.0)


def test_a_subject_left_out_leaves_its_ratios_out() -> None:
    alone = Row(name="int_sieve", unit="sieve/s", medians={OURS: 300})
    one_tcg = Row(name="int_sieve", unit="sieve/s", medians={OURS: 300, TCG_DEFAULT: 100})

    assert (alone.over_tcg, alone.slowdown) == (None, None)
    assert (one_tcg.over_tcg, one_tcg.slowdown) == (3.0, None)


def test_classes_have_their_own_means_and_bars() -> None:
    rows = [
        row("int_fib", "Mcall/s", ours=400, tcg_max=100, tcg_default=90, native=800),
        row("int_sieve", "sieve/s", ours=100, tcg_max=100, tcg_default=90, native=400),
        row("int_crc32", "MB/s", ours=400, tcg_max=100, tcg_default=90, native=400),
        row("cpu_cpuid", "ns/insn", ours=20, tcg_max=10, tcg_default=10, native=1),
    ]

    by_name = {judged.what: judged for judged in judge(rows)}

    assert (rows[0].kind, rows[1].kind) == (CALLS, INTEGER)
    assert by_name[CALLS].measured == pytest.approx(4.0)
    assert by_name[CALLS].verdict == "met"
    assert by_name[INTEGER].measured == pytest.approx(2.0)
    assert by_name["all rows"].measured == pytest.approx(8**0.25)
    assert by_name["all rows"].verdict == "**not met**"
    assert by_name["the slowest row, cpu_cpuid"].measured == pytest.approx(0.5)
    assert by_name["memory"].verdict == "not measured"
    slowdown = by_name["slowdown against native: integer, floating point, SIMD, memory"]
    assert (slowdown.count, slowdown.verdict) == (3, "met")
    assert slowdown.measured == pytest.approx(2.0)


def test_medians_are_over_repeats() -> None:
    rows = tabulate({OURS: [run_of(int_sieve=1), run_of(int_sieve=9), run_of(int_sieve=2)]})

    assert rows == [Row(name="int_sieve", unit="MB/s", medians={OURS: 2})]


@pytest.mark.parametrize(
    ("host_s", "own_s", "drifts"), [(0.52, 0.5, False), (0.14, 0.1, False), (0.6, 0.5, True), (0.4, 0.5, True)]
)
def test_a_clock_that_lies_is_noticed(host_s: float, own_s: float, drifts: bool) -> None:
    run = Run(clocks={"int_fib": Clock(host_s=host_s, own_s=own_s)})

    assert ("int_fib" in clock_drifts([run])) == drifts


def test_the_page_says_all() -> None:
    setting = Setting(gb=Path("gb"), parallel=Path("p"), kernel=Path("vmlinuz-9"), initrd=Path("i"), engine="bt")
    lying = Run(values={"int_fib": 4500}, units={"int_fib": "Mcall/s"}, clocks={"int_fib": Clock(host_s=2, own_s=1)})
    honest = Run(values={"int_fib": 500}, units={"int_fib": "Mcall/s"}, clocks={"int_fib": Clock(host_s=1, own_s=1)})
    scalings = {
        OURS: Scaling([run_of(par_compute=10)], [run_of(par_compute=19)]),
        NATIVE: Scaling([run_of(par_compute=10)], [run_of(par_compute=15)]),
    }

    page = render(setting, 0.5, {OURS: [lying], TCG_MAX: [honest]}, scalings)

    assert "| int_fib | Mcall/s | – | 4500 | 500 | – | 9.00 × | – |" in page
    assert "- ours: int_fib 2.00\n" in page
    assert "| integer, call-heavy | 1 | 9.00 × | at least 4 × | at least 8 × | met, and the aim |" in page
    assert "| computing on 2 vCPUs against 1 | 1 | 1.90 × | at least 1.8 × | at least 1.95 × | met |" in page
    assert "compute 1.50 × as much on 2 processors as on 1. It was too busy" in page


def test_nothing_measured_is_nothing_judged() -> None:
    assert {judged.verdict for judged in judgements({}, {})} == {"not measured"}


def test_a_guest_and_a_process_get_the_same_choice_of_rows() -> None:
    setting = Setting(gb=Path("gb"), parallel=Path("par"), kernel=Path("k"), initrd=Path("i"), engine="interp")

    assert setting.rows_command(NATIVE, 0.1, ["int", "fp_x"]) == ["gb", "-t", "0.1", "int", "fp_x"]
    for subject in (OURS, TCG_MAX, TCG_DEFAULT):
        assert "console=ttyS0 quiet gb.t=0.1 gb.only=int,fp_x" in setting.rows_command(subject, 0.1, ["int", "fp_x"])
    assert setting.parallel_command(NATIVE, 1.0, 2) == ["par", "1.0", "2"]
    assert "console=ttyS0 quiet rdinit=/parallel -- 1.0 2" in setting.parallel_command(OURS, 1.0, 2)


def test_those_left_out_are_named_by_their_beginnings() -> None:
    assert subjects("tcg,par") == {TCG_MAX, TCG_DEFAULT, "parallel"}
    with pytest.raises(Exception, match="nobody measured is called kvm"):
        subjects("kvm")
