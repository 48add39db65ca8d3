"""One run of the stress guest: what it was told to do, and what it says about each part."""

import re
from dataclasses import dataclass
from pathlib import Path

from innkeeper.config import EngineChoice
from tests.boot.inn import Done, guest, inn_run

OWN_PARTS = ("code", "faults", "steps", "threads", "bpf", "forks", "ftrace", "static_keys", "kprobes", "zram")
LINE = re.compile(r"STRESS (PASS|SKIP|FAIL) (\S+) ([\d.]+)")
MEMORY_MIB = 1024
SHOWN = 4000  # of what a guest said that did not reach its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a guest shall do; `guest/init` says what the words mean."""

    parts: tuple[str, ...]
    vcpus: int
    engine: EngineChoice = EngineChoice.BT
    rounds: int = 1
    seconds: int = 1  # for a class of stress-ng
    code_cache_mib: int | None = None  # of engine bt; so small that it is full all the time, it tests eviction
    limit_s: float = 600

    def options(self, kernel: Path, initrd: Path) -> list[str]:
        words = {"stress": ",".join(self.parts), "stress_rounds": self.rounds, "stress_seconds": self.seconds}
        append = " ".join(["console=ttyS0 log_buf_len=4M panic=1", *(f"{key}={value}" for key, value in words.items())])
        options = guest(kernel, initrd, append=append, memory=MEMORY_MIB, engine=self.engine)
        cache = [] if self.code_cache_mib is None else ["--code-cache", str(self.code_cache_mib)]
        return [*options, "--vcpus", str(self.vcpus), "--no-reboot", *cache]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one part: PASS, SKIP or FAIL, and what the guest had to say about it."""

    word: str
    seconds: float
    complaint: str


@dataclass(frozen=True, slots=True)
class Report:
    """Of a run. `failure` says why it did not reach its end, and is empty if it did."""

    verdicts: dict[str, Verdict]
    failure: str

    @property
    def passed(self) -> bool:
        return not self.failure and all(verdict.word != "FAIL" for verdict in self.verdicts.values())


def stress(kernel: Path, initrd: Path, work: Work) -> Report:
    done = inn_run(*work.options(kernel, initrd), limit_s=work.limit_s)
    over = done.status == 0 and "STRESS END" in done.lines
    return Report(verdicts(done), "" if over else f"status {done.status}, {done.complaint}{done.said[-SHOWN:]}")


def verdicts(done: Done) -> dict[str, Verdict]:
    """By part. Complaints follow their part's line, each behind a bar."""
    found: dict[str, Verdict] = {}
    name = ""
    for line in done.lines:
        if match := LINE.fullmatch(line):
            word, name, seconds = match.groups()
            found[name] = Verdict(word, float(seconds), "")
        elif line.startswith("| ") and name:
            before = found[name]
            found[name] = Verdict(before.word, before.seconds, f"{before.complaint}{line[2:]}\n")
    return found
