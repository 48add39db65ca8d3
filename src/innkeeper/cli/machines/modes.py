"""virsh's `--mode` of `shutdown` and `reboot`: the ways to reach a guest, of which the first that is named and works is taken."""

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress

from innkeeper.errors import ConfigError, HostError

ACPI, AGENT = "acpi", "agent"
ELSEWHERE = ("initctl", "signal", "paravirt")


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mode", metavar="MODES", default=ACPI, help="acpi, by the power button, or agent, by the guest's agent"
    )


def chosen(arguments: argparse.Namespace) -> list[str]:
    """The ways that are ours, in the order given. Raises `ConfigError` if there is none."""
    modes: list[str] = arguments.mode.split(",")
    if unknown := [mode for mode in modes if mode not in (ACPI, AGENT, *ELSEWHERE)]:
        raise ConfigError(f"mode is {unknown[0]!r}; it can be {', '.join((ACPI, AGENT, *ELSEWHERE))}")
    ours = [mode for mode in modes if mode not in ELSEWHERE]
    if not ours:
        raise ConfigError(
            f"mode is {arguments.mode}; guests here can be reached by their power button, --mode {ACPI}, or by an agent, "
            f"--mode {AGENT}"
        )
    return ours


def first(ways: Sequence[Callable[[], str]]) -> str:
    """What the first one gives that works. Raises `HostError` of the last if none does."""
    for way in ways[:-1]:
        with suppress(HostError):
            return way()
    return ways[-1]()
