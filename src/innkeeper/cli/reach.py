"""Options of the verbs that reach a running machine, and what they have in common."""

import argparse
from pathlib import Path
from typing import Any

from innkeeper.cli.machines import common
from innkeeper.errors import ConfigError, HostError
from innkeeper.machine import control
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


def ask(arguments: argparse.Namespace, do: str, **values: Any) -> Any:
    """What the machine that is meant answers: of this user's by its socket, of the host's through their manager."""
    if not arguments.system:
        given: Path | None = arguments.control
        return control.ask(given if given is not None else control_of(arguments.name), do, **values)
    if arguments.control is not None:
        raise ConfigError("--control is given with --system, whose machines are reached by their names; give --name")
    manager = common.manager(arguments)
    name = arguments.name
    if name is None:
        running = [each["name"] for each in manager.domains.all() if each["id"] is not None]
        if len(running) != 1:
            known = f"say which with --name: {', '.join(running)}" if running else "inn --system start NAME starts one"
            raise HostError(f"{len(running)} machines of the host run; {known}")
        name = running[0]
    return manager.domains.control(name, do, values)
