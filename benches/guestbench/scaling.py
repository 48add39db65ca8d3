"""Does a guest with two processors compute twice as much? Two workers on two, against one on one."""

import os
import sys
from dataclasses import dataclass, field
from statistics import median

from benches.guestbench.subjects import NATIVE, OURS, Setting
from benches.guestbench.transcript import Run, agree, execute

ROW = "par_compute"
SECONDS = 1.0


@dataclass(slots=True)
class Scaling:
    """One subject's runs with one worker and with two, in pairs."""

    one: list[Run] = field(default_factory=list)
    two: list[Run] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        pairs = zip(self.one, self.two, strict=True)
        return median(two.values[ROW] / one.values[ROW] for one, two in pairs)


def measure_scaling(setting: Setting, without: set[str], repeats: int) -> dict[str, Scaling]:
    """Ours, and as the most that this host gives, its own; nothing on a host with one processor."""
    if len(os.sched_getaffinity(0)) < 2:
        print("one processor here: nothing runs in parallel", file=sys.stderr)
        return {}
    scalings = {subject: Scaling() for subject in (OURS, NATIVE) if subject not in without}
    for turn in range(repeats):
        for subject, scaling in scalings.items():
            print(f"parallel, turn {turn + 1} of {repeats}: {subject} ...", file=sys.stderr)
            one, two = (execute(subject, setting.parallel_command(subject, SECONDS, workers)) for workers in (1, 2))
            agree(f"{subject} with two", two, "with one", one)
            scaling.one.append(one)
            scaling.two.append(two)
    return scalings
