"""What the networks' verbs have in common."""

from __future__ import annotations

import argparse
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.cli.machines.common import manager
from innkeeper.cli.parser import operand
from innkeeper.cli.words import say, tell_unknown
from innkeeper.errors import HostError

if TYPE_CHECKING:
    from innkeeper.manager.networks import Networks

LIMIT_S = 60


def networks(arguments: argparse.Namespace) -> Networks:
    """The networks that the command line means."""
    return manager(arguments).networks


def network(parser: argparse.ArgumentParser, what: str = "the network's name or UUID") -> None:
    """The network that a verb is about."""
    operand(parser, "network", what)


def name_of(arguments: argparse.Namespace) -> str:
    return str(arguments.network)


def owner(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--user", metavar="NAME", help="let this user's machines join without root (default: who ran sudo)"
    )


def user_of(arguments: argparse.Namespace) -> str | None:
    """Whose machines are to join: who is named, or who ran sudo."""
    if arguments.user is not None:
        return str(arguments.user)
    number = os.environ.get("SUDO_UID", "0")
    return number if os.geteuid() == 0 and number.isdigit() and number != "0" else None


def tell(unknown: list[str], notes: list[str]) -> None:
    """What is to be known beside what was asked for."""
    tell_unknown(unknown)
    for note in notes:
        say(note, file=sys.stderr)


def kept_by_who_ran_sudo(name: str) -> str | None:
    """The definition that this user keeps of a network, asked for with no more than the user's rights; None if there is none."""
    number = os.environ.get("SUDO_UID", "")
    if os.geteuid() != 0 or not number.isdigit() or number == "0":
        return None
    try:
        entry = pwd.getpwuid(int(number))
    except KeyError:
        return None
    environment = {"HOME": entry.pw_dir, "USER": entry.pw_name, "PATH": os.environ.get("PATH", os.defpath)}
    if (runtime := Path(f"/run/user/{number}")).is_dir():
        environment["XDG_RUNTIME_DIR"] = str(runtime)
    command = [sys.executable, "-m", "innkeeper.cli", "net-dumpxml", "--inactive", name]
    try:
        done = subprocess.run(
            command,
            user=entry.pw_uid,
            group=entry.pw_gid,
            extra_groups=[],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
    except OSError:
        return None  # what root runs is not there for this user
    except subprocess.TimeoutExpired as error:
        raise HostError(
            f"the manager of {entry.pw_name} does not say within {LIMIT_S} s what network {name} is"
        ) from error
    return done.stdout if done.returncode == 0 else None
