"""One run of a program that prints rows, by what it said: results, checksums, and how its clock went by ours.

The words are described in `benches/guestbench/gb.c`. What a kernel says in between is passed over.
"""

import os
import signal
import subprocess
import threading
import time
from collections import deque
from dataclasses import dataclass, field

LIMIT_S = 600.0


class BenchError(Exception):
    """A run that did not do what it should have; nothing was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One interval, timed from outside and by the clock of whoever was measured."""

    host_s: float
    own_s: float


@dataclass(slots=True)
class Run:
    """What one run said, by row."""

    values: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    clocks: dict[str, Clock] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


class Transcript:
    """Listens to a run, line by line."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.run = Run()
        self.done = False
        self.failed: list[str] = []
        self._begun: dict[str, float] = {}

    def hear(self, line: str, when_s: float) -> None:
        try:
            self._understand(line.split(), when_s)
        except (KeyError, ValueError) as error:
            raise BenchError(f"{self.name} said {line.strip()!r}, which is no line of the benchmark's") from error

    def _understand(self, words: list[str], when_s: float) -> None:
        match words:
            case ["GB", row, "FAIL"]:
                self.failed.append(row)
            case ["GB", row, value, unit]:
                self.run.values[row] = float(value)
                self.run.units[row] = unit
            case ["GBC", row, checksum]:
                self.run.sums[row] = checksum
            case ["GBM", "start", row]:
                self._begun[row] = when_s
            case ["GBM", "end", row, own_ns, _]:
                self.run.clocks[row] = Clock(host_s=when_s - self._begun[row], own_s=int(own_ns) / 1e9)
            case ["GBI", *remark]:
                self.run.remarks.append(" ".join(remark))
            case ["GB_DONE"]:
                self.done = True
            case ["GB" | "GBC" | "GBM", *_]:
                raise ValueError
            case _:  # a kernel speaks
                pass

    def unfinished(self) -> list[str]:
        """What should have been said and was not."""
        halves = self.run.values.keys() ^ self.run.clocks.keys()
        return [*self.failed, *sorted(halves - set(self.failed)), *([] if self.done else ["GB_DONE"])]


def execute(name: str, command: list[str], limit_s: float = LIMIT_S) -> Run:
    """Runs a command whose output is such a program's. Raises `BenchError` unless it came to its end in good order."""
    transcript = Transcript(name)
    last_words: deque[str] = deque(maxlen=12)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that what it forks can be ended with it
    )
    timer = threading.Timer(limit_s, end, [process])
    timer.start()
    try:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                transcript.hear(line, time.monotonic())
                last_words.append(line.rstrip())
        process.wait()
    finally:
        timer.cancel()
        end(process)
    unfinished = transcript.unfinished()
    if process.returncode != 0 or unfinished:
        last = "\n  ".join(last_words)
        raise BenchError(f"{name} ended with {process.returncode}, without {unfinished}; its last words:\n  {last}")
    return transcript.run


def end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def agree(name: str, run: Run, reference_name: str, reference: Run) -> None:
    """Raises `BenchError` unless both ran the same rows and got the same sums."""
    if missing := run.values.keys() ^ reference.values.keys():
        raise BenchError(f"{name} and {reference_name} ran different rows: only one of them has {sorted(missing)}")
    wrong = [
        f"{row}: {run.sums.get(row)} and {reference.sums.get(row)}"
        for row in sorted(run.sums.keys() | reference.sums.keys())
        if run.sums.get(row) != reference.sums.get(row)
    ]
    if wrong:
        raise BenchError(f"{name} and {reference_name} computed different checksums: {'; '.join(wrong)}")
