"""Options of the verbs that reach a running machine, and what they have in common."""

import argparse
from pathlib import Path

from innkeeper.errors import ConfigError
from innkeeper.machine.names import check_name, control_of


def add_options(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--name", type=check_name, metavar="NAME", help="the machine (default: the only one that runs)")
    where.add_argument(
        "--control", type=control_path, metavar="unix:PATH", help="the machine whose inn run was given this"
    )


def control_path(text: str) -> Path:
    kind, colon, path = text.partition(":")
    if kind != "unix" or not colon or not path:
        raise ConfigError(f"control is {text!r}; it must be unix:PATH")
    return Path(path)


def socket_of(arguments: argparse.Namespace) -> Path:
    control: Path | None = arguments.control
    return control if control is not None else control_of(arguments.name)
