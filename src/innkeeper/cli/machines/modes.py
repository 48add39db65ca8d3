"""virsh's `--mode` of `shutdown` and `reboot`: the ways to reach a guest, tried in turn, of which there is one here."""

import argparse

from innkeeper.errors import ConfigError

ACPI = "acpi"
ELSEWHERE = ("agent", "initctl", "signal", "paravirt")


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mode", metavar="MODES", default=ACPI, help="acpi, by the power button, which is the only way"
    )


def check(arguments: argparse.Namespace) -> None:
    """Raises `ConfigError` if none of the ways is ours."""
    modes = arguments.mode.split(",")
    if unknown := [mode for mode in modes if mode not in (ACPI, *ELSEWHERE)]:
        raise ConfigError(f"mode is {unknown[0]!r}; it can be {', '.join((ACPI, *ELSEWHERE))}")
    if ACPI not in modes:
        raise ConfigError(
            f"mode is {arguments.mode}; guests here can only be reached by their power button, --mode {ACPI}"
        )
