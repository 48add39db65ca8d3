"""`cd` in `inn virsh`'s shell."""

import argparse
import os
from pathlib import Path

from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError, HostError


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "dir", "the folder; without one, this user's own", required=False)


def execute(arguments: argparse.Namespace) -> int:
    if not arguments.session.interactive:
        raise ConfigError("cd changes the shell's folder, and there is no shell; inn virsh without a command is one")
    folder = Path.home() if arguments.dir is None else Path(arguments.dir)
    try:
        os.chdir(folder)
    except OSError as error:
        raise HostError(f"cannot change to {folder}: {error.strerror}") from error
    return Status.DONE
