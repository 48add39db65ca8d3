"""Options of the command line that are numbers."""

import argparse


def vcpus_of(text: str) -> tuple[int, int | None]:
    """How many there are, and may be.

    >>> vcpus_of("2"), vcpus_of("2,maxvcpus=4")
    ((2, None), (2, 4))
    """
    count, more, most = text.partition(",maxvcpus=")
    return whole_number(count), whole_number(most) if more else None


def whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shortened(text)} is not a whole number") from None


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shortened(text)} is not a number") from None


def shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
