"""What a soak prints, and its judgement of figures that should stay as they are."""

from collections.abc import Sequence
from statistics import median


def say(soak: str, words: str) -> None:
    print(f"{soak}: {words}", flush=True)


def spread(values: Sequence[float], unit: str) -> str:
    return f"{min(values):.1f} to {max(values):.1f} {unit}, median {median(values):.1f}"


def growth(values: Sequence[float]) -> float:
    """From the second quarter to the last: the first is for what is taken once and kept."""
    quarter = max(len(values) // 4, 1)
    return median(values[-quarter:]) - median(values[quarter : 2 * quarter] or values)
