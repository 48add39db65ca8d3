"""A text in the user's editor: `$VISUAL`, `$EDITOR` or vi, until it can be kept or the user gives up. Nothing written is ever lost."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from innkeeper.cli.words import say
from innkeeper.errors import ConfigError, HostError, InnkeeperError

Kept = TypeVar("Kept")

EDITOR = "vi"


def edit(text: str, name: str, keep: Callable[[str], Kept]) -> Kept | None:
    """What `keep` makes of the edited text; None if it was left as it was.

    What `keep` refuses (`InnkeeperError`) can be edited again, at a terminal; else it stays in a file, which the error names.
    """
    folder = Path(tempfile.mkdtemp(prefix="innkeeper-edit-"))  # private to this user
    file = folder / name
    file.write_text(text)
    while True:
        run_editor(file)
        changed = file.read_text()
        if changed == text:
            discard(file)
            return None
        try:
            kept = keep(changed)
        except InnkeeperError as error:
            if again(error):
                continue
            raise type(error)(f"{error}; what you wrote is in {file}") from error
        discard(file)
        return kept


def run_editor(file: Path) -> None:
    """Raises `HostError` if it cannot be started or fails."""
    words = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or EDITOR)
    if not words:
        raise ConfigError("EDITOR is empty; set it to the program that shall edit")
    try:
        status = subprocess.run([*words, str(file)], check=False).returncode
    except OSError as error:
        raise HostError(f"cannot start the editor {words[0]}: {error.strerror}; set EDITOR to another") from error
    if status != 0:
        raise HostError(
            f"the editor {words[0]} ended with status {status}; {file} is as it left it, and nothing changed"
        )


def again(error: InnkeeperError) -> bool:
    """Asks whether to go on editing, if there is somebody to ask."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    say(f"error: {error}\nedit it again? [Y/n] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("", "y", "yes")


def discard(file: Path) -> None:
    """Editors leave files of their own beside it."""
    for each in file.parent.iterdir():
        each.unlink()
    file.parent.rmdir()
