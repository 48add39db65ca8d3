"""The arithmetic of the guest benchmark: medians, ratios, classes of rows, and the bars that they are held to."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import geometric_mean, median

from benches.guestbench.subjects import NATIVE, OURS, TCG_DEFAULT, TCG_MAX
from benches.guestbench.transcript import Run

# Rows with a call and a return in at most 40 instructions, counted with callgrind: int_fib 16, int_qsort 18 (its
# comparison is called through a pointer), int_dhry 40 (some through a pointer). Of the other integer rows only
# int_muldiv calls as often, but spends its time in the divisions there; int_strops makes a call in 5000 instructions,
# int_interp none: its dispatch jumps.
CALL_HEAVY = frozenset({"int_fib", "int_qsort", "int_dhry"})

INTEGER = "integer, but for the call-heavy"
CALLS = "integer, call-heavy"
FLOATING = "floating point and SIMD"
MEMORY = "memory"
SYSTEM = "system"
SELF_MODIFYING = "self-modifying code"
OTHER = "single instructions"
CLASSES = {
    "int": INTEGER,
    "fp": FLOATING,
    "simd": FLOATING,
    "mem": MEMORY,
    "sys": SYSTEM,
    "smc": SELF_MODIFYING,
    "cpu": OTHER,
}
COMPUTING = (INTEGER, CALLS, FLOATING, MEMORY)

# A class's geometric mean of our speed over the faster TCG's: bar and aim.
CLASS_BARS = {
    INTEGER: (1.8, 2.5),
    CALLS: (4.0, 8.0),
    FLOATING: (10.0, 15.0),
    MEMORY: (4.0, 8.0),
    SYSTEM: (2.0, 3.5),
    SELF_MODIFYING: (4.0, 15.0),
}
SLOWEST_BAR = (0.8, 1.0)
OVERALL_BAR = (3.5, 5.0)
SLOWDOWN_BAR = (2.5, 1.6)
PARALLEL_BAR = (1.8, 1.95)

CLOCK_TOLERANCE, CLOCK_TOLERANCE_S = 0.1, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row's median by subject."""

    name: str
    unit: str
    medians: dict[str, float]

    @property
    def kind(self) -> str:
        return CALLS if self.name in CALL_HEAVY else CLASSES.get(self.name.partition("_")[0], OTHER)

    @property
    def over_tcg(self) -> float | None:
        """Our speed over that of the faster of the TCGs."""
        ratios = [self._speed(OURS, tcg) for tcg in (TCG_MAX, TCG_DEFAULT)]
        return min((ratio for ratio in ratios if ratio is not None), default=None)

    @property
    def slowdown(self) -> float | None:
        """How often longer we take than the host itself."""
        return self._speed(NATIVE, OURS)

    def _speed(self, subject: str, other: str) -> float | None:
        if subject not in self.medians or other not in self.medians:
            return None
        ratio = self.medians[subject] / self.medians[other]
        return ratio if is_rate(self.unit) else 1 / ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Something measured, held against its bar. With `low`, less is better."""

    what: str
    count: int
    measured: float | None
    bar: float
    aim: float
    low: bool = False

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        sign = -1 if self.low else 1
        if sign * self.measured >= sign * self.aim:
            return "met, and the aim"
        return "met" if sign * self.measured >= sign * self.bar else "**not met**"


def is_rate(unit: str) -> bool:
    """Whether more is better; else it is a time."""
    return unit.endswith("/s")


def tabulate(runs: dict[str, list[Run]]) -> list[Row]:
    """The rows in the order in which they ran."""
    first = next(run for of_subject in runs.values() for run in of_subject)
    return [
        Row(
            name=name,
            unit=first.units[name],
            medians={subject: median(run.values[name] for run in many) for subject, many in runs.items()},
        )
        for name in first.values
    ]


def judge(rows: list[Row]) -> list[Judgement]:
    """Every bar that rows are held to, measured or not."""
    judgements = []
    for kind, bar in CLASS_BARS.items():
        judgements.append(judgement(kind, [row.over_tcg for row in rows if row.kind == kind], bar))
    judgements.append(judgement("all rows", [row.over_tcg for row in rows], OVERALL_BAR))
    slowest = min((row for row in rows if row.over_tcg is not None), key=lambda row: row.over_tcg or 0, default=None)
    name = "the slowest row" + (f", {slowest.name}" if slowest else "")
    judgements.append(judgement(name, [slowest.over_tcg] if slowest else [], SLOWEST_BAR))
    slowdowns = [row.slowdown for row in rows if row.kind in COMPUTING]
    what = "slowdown against native: integer, floating point, SIMD, memory"
    judgements.append(judgement(what, slowdowns, SLOWDOWN_BAR, low=True))
    return judgements


def judgement(what: str, ratios: Iterable[float | None], bar: tuple[float, float], *, low: bool = False) -> Judgement:
    """Judges a geometric mean."""
    known = [ratio for ratio in ratios if ratio is not None]
    mean = geometric_mean(known) if known else None
    return Judgement(what=what, count=len(known), measured=mean, bar=bar[0], aim=bar[1], low=low)


def clock_drifts(runs: list[Run]) -> dict[str, float]:
    """Rows in which host and guest disagree about how long they took: seconds of the host's in one of the guest's.

    Below 1 the guest's clock is fast, and it looks slower than it is; above 1, faster.
    """
    drifts = {}
    for name in runs[0].clocks:
        clocks = [run.clocks[name] for run in runs]
        ratio = median(clock.host_s / clock.own_s for clock in clocks)
        tolerance = max(CLOCK_TOLERANCE, CLOCK_TOLERANCE_S / median(clock.own_s for clock in clocks))
        if abs(ratio - 1) > tolerance:
            drifts[name] = ratio
    return drifts
