"""The guest benchmark: what a guest's own work costs in Innkeeper, in QEMU's TCG and natively, row by row.

Run from the repository's root: `python -m benches.guestbench.bench`. Subjects alternate, so that a busy machine is
unfair to all alike. A wrong checksum, a run that does not finish or a row that fails ends the benchmark.
"""

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benches.guestbench.host import this_machine
from benches.guestbench.page import judgements, render
from benches.guestbench.rows import tabulate
from benches.guestbench.scaling import ROW as PARALLEL_ROW
from benches.guestbench.scaling import Scaling, measure_scaling
from benches.guestbench.subjects import SUBJECTS, TCG_DEFAULT, TCG_MAX, Setting, prepare
from benches.guestbench.transcript import BenchError, Run, agree, execute

PARALLEL = "parallel"


def main() -> int:
    arguments = parse()
    if shutil.which("qemu-system-x86_64") is None and not {TCG_MAX, TCG_DEFAULT} <= arguments.without:
        print("error: no qemu-system-x86_64 (Debian package qemu-system-x86); or use --without tcg", file=sys.stderr)
        return 2
    with TemporaryDirectory() as directory:
        try:
            setting = prepare(Path(directory), arguments.engine, arguments.kernel)
            runs = measure_rows(setting, arguments)
            scalings = measure_parallel(setting, arguments)
        except BenchError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    page = render(setting, arguments.seconds, runs, scalings)
    print(page, end="")
    keep(arguments, page, record(setting, arguments.seconds, runs, scalings))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", default="bt", help="of ours (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="turns to take medians of (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, metavar="T", help="for a row (default: %(default)s)")
    parser.add_argument("--rows", type=words, default=[], metavar="PREFIX,...", help="only rows whose names begin so")
    everyone = ", ".join((*SUBJECTS, PARALLEL))
    parser.add_argument(
        "--without", type=subjects, default=set(), metavar="NAME,...", help=f"by name or its beginning: {everyone}"
    )
    parser.add_argument("--kernel", type=Path, help="default: Debian's cloud kernel")
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="write all that was measured there")
    parser.add_argument("--append", type=Path, metavar="PAGE.md", help="add the result to a page")
    parser.add_argument("--render", type=Path, metavar="PAGE.md", help="make a page of the result")
    return parser.parse_args()


def words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def subjects(text: str) -> set[str]:
    """Those that begin with one of the words: `tcg` are two."""
    chosen: set[str] = set()
    for word in words(text):
        named = {name for name in (*SUBJECTS, PARALLEL) if name.startswith(word)}
        if not named:
            raise argparse.ArgumentTypeError(f"nobody measured is called {word}")
        chosen |= named
    return chosen


def measure_rows(setting: Setting, arguments: argparse.Namespace) -> dict[str, list[Run]]:
    """Every subject's runs of `gb`, all with the same rows and checksums."""
    prefixes = [prefix for prefix in arguments.rows if not PARALLEL_ROW.startswith(prefix)]
    if arguments.rows and not prefixes:
        return {}
    runs: dict[str, list[Run]] = {subject: [] for subject in SUBJECTS if subject not in arguments.without}
    reference: tuple[str, Run] | None = None
    for turn in range(arguments.repeats):
        for subject, finished in runs.items():
            print(f"turn {turn + 1} of {arguments.repeats}: {subject} ...", file=sys.stderr)
            run = execute(subject, setting.rows_command(subject, arguments.seconds, prefixes))
            if not run.values:
                raise BenchError(f"no row begins with {' or '.join(prefixes)}")
            reference = reference or (subject, run)
            agree(subject, run, *reference)
            finished.append(run)
    return runs


def measure_parallel(setting: Setting, arguments: argparse.Namespace) -> dict[str, Scaling]:
    wanted = not arguments.rows or any(PARALLEL_ROW.startswith(prefix) for prefix in arguments.rows)
    if not wanted or PARALLEL in arguments.without:
        return {}
    return measure_scaling(setting, arguments.without, arguments.repeats)


def record(
    setting: Setting, seconds: float, runs: dict[str, list[Run]], scalings: dict[str, Scaling]
) -> dict[str, Any]:
    """Everything, as JSON has it."""
    return {
        "about": this_machine(),
        "engine": setting.engine,
        "kernel": setting.kernel.name,
        "seconds": seconds,
        "rows": [
            {**asdict(row), "class": row.kind, "over_tcg": row.over_tcg, "slowdown": row.slowdown}
            for row in (tabulate(runs) if runs else [])
        ],
        "bars": [{**asdict(judged), "verdict": judged.verdict.strip("*")} for judged in judgements(runs, scalings)],
        "runs": {subject: [asdict(run) for run in finished] for subject, finished in runs.items()},
        "parallel": {subject: {**asdict(each), "ratio": each.ratio} for subject, each in scalings.items()},
    }


def keep(arguments: argparse.Namespace, page: str, measured: dict[str, Any]) -> None:
    """Writes what the options ask for."""
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(measured, indent=1) + "\n")
    if arguments.append is not None:
        with arguments.append.open("a") as file:
            file.write("\n" + page)
    if arguments.render is not None:
        arguments.render.write_text(f"# Benchmarks\n\n{this_machine()}.\n\n{page}")


if __name__ == "__main__":
    sys.exit(main())
