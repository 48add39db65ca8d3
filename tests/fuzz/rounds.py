"""Cases by their numbers, for as long as is asked for; what fails says how to repeat it."""

import argparse
import sys
import time
from collections.abc import Callable


def options(description: str | None) -> argparse.Namespace:
    """`--seconds` and `--seed`; the first line of the description is told."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def run(name: str, asked: argparse.Namespace, case: Callable[[int], object]) -> int:
    """How many cases there were, from the seed on."""
    end, seed = time.monotonic() + asked.seconds, asked.seed
    while time.monotonic() < end:
        try:
            case(seed)
        except BaseException:
            print(f"{name}: repeat with --seed {seed} --seconds 0.001", file=sys.stderr)
            raise
        seed += 1
    return int(seed - asked.seed)
