"""The guest benchmark as a page: every row, and the bars with what was measured."""

from benches.guestbench.rows import CALL_HEAVY, PARALLEL_BAR, Judgement, Row, clock_drifts, judge, judgement, tabulate
from benches.guestbench.scaling import Scaling
from benches.guestbench.subjects import MEMORY_MIB, NATIVE, OURS, TCG_DEFAULT, TCG_MAX, Setting
from benches.guestbench.transcript import Run

COLUMNS = (NATIVE, OURS, TCG_MAX, TCG_DEFAULT)


def render(setting: Setting, seconds: float, runs: dict[str, list[Run]], scalings: dict[str, Scaling]) -> str:
    sections = []
    if runs:
        sections += [introduction(setting, seconds, runs), rows_table(tabulate(runs), setting.engine), clocks(runs)]
    sections += [bars_table(judgements(runs, scalings)), ceiling(scalings)]
    return "## Guest benchmark\n\n" + "\n".join(section for section in sections if section)


def judgements(runs: dict[str, list[Run]], scalings: dict[str, Scaling]) -> list[Judgement]:
    ratio = scalings[OURS].ratio if OURS in scalings else None
    parallel = judgement("computing on 2 vCPUs against 1", [ratio], PARALLEL_BAR)
    return [*judge(tabulate(runs) if runs else []), parallel]


def introduction(setting: Setting, seconds: float, runs: dict[str, list[Run]]) -> str:
    turns = max(len(many) for many in runs.values())
    return f"""Guest: {setting.kernel.name}, 1 vCPU, {MEMORY_MIB} MiB. {seconds:g} s a row, {turns} \
turn{"s" * (turns > 1)} each, alternating; medians. `native` is the same program as a process of this host.
All checksums agree. Speed is ours over that of the faster TCG, above 1 ours is faster; slowdown is the time that we take \
over the host's.
"""


def rows_table(rows: list[Row], engine: str) -> str:
    heads = {NATIVE: "native", OURS: f"innkeeper {engine}", TCG_MAX: "tcg, -cpu max", TCG_DEFAULT: "tcg, default CPU"}
    head = " | ".join(["row", "unit", *(heads[column] for column in COLUMNS), "speed over TCG", "slowdown"])
    return f"| {head} |\n|{'---|' * (len(COLUMNS) + 4)}\n" + "".join(
        " | ".join(
            [
                f"| {row.name} | {row.unit}",
                *(number(row.medians.get(column)) for column in COLUMNS),
                f"{times(row.over_tcg)} | {times(row.slowdown)} |\n",
            ]
        )
        for row in rows
    )


def bars_table(judged: list[Judgement]) -> str:
    lines = [
        f"| {each.what} | {each.count or '–'} | {times(each.measured)} | {limit(each, each.bar)} "
        f"| {limit(each, each.aim)} | {each.verdict} |\n"
        for each in judged
    ]
    return f"""Geometric means of the speed over TCG by class. Call-heavy are {", ".join(sorted(CALL_HEAVY))}.

| | rows | measured | bar | aim | |
|---|---|---|---|---|---|
{"".join(lines)}"""


def limit(judged: Judgement, value: float) -> str:
    return f"at {'most' if judged.low else 'least'} {value:g} ×"


def ceiling(scalings: dict[str, Scaling]) -> str:
    """What two processors of a busy host really give."""
    if NATIVE not in scalings:
        return ""
    ratio = scalings[NATIVE].ratio
    busy = " It was too busy for anyone to meet the bar." if ratio < PARALLEL_BAR[0] else ""
    return f"Processes of this host, measured alike, compute {ratio:.2f} × as much on 2 processors as on 1.{busy}\n"


def clocks(runs: dict[str, list[Run]]) -> str:
    drifts = {subject: clock_drifts(many) for subject, many in runs.items() if subject != NATIVE}
    if not any(drifts.values()):
        return "Guests' clocks agree with the host's in every row.\n" if drifts else ""
    lines = [
        f"- {subject}: " + ", ".join(f"{row} {ratio:.2f}" for row, ratio in rows.items()) + "\n"
        for subject, rows in drifts.items()
        if rows
    ]
    return (
        "**Clock drift**, in seconds of the host's to one of the guest's; these rows are not to be trusted:\n"
        + "".join(lines)
    )


def times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f} ×"


def number(value: float | None) -> str:
    """Four digits, and no exponent."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"
