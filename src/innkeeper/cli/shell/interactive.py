"""`inn virsh` without a command: a shell, with a line editor where there is a terminal (Python's readline).

Lines that do not come from a terminal are commands too, without a prompt: `inn virsh < FILE`.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.errors import InnkeeperError

if TYPE_CHECKING:
    from innkeeper.cli.shell.session import Session

HISTORY = "virsh-history"
HISTORY_LINES = 500
DELIMITERS = " \t\n;"


def interact(session: Session) -> int:
    """Until the end of the input, or `quit`; gives the exit status of the last command."""
    session.interactive, status = True, int(Status.DONE)
    typed = sys.stdin.isatty()
    history = prepare() if typed else None
    if typed:
        complete_for(session)
    if typed and not session.quiet:
        say("inn virsh, a shell for virtual machines: help lists its commands, quit leaves it.\n")
    try:
        while not session.ended:
            try:
                line = input(prompt(session)) if typed else sys.stdin.readline()
            except EOFError:
                print()
                break
            except KeyboardInterrupt:
                print()
                continue
            if not typed and not line:
                break
            status = session.run_all(line)
    finally:
        if history is not None:
            keep(history)
    return status


def prompt(session: Session) -> str:
    return "virsh > " if session.readonly else "virsh # "


def prepare() -> Path | None:
    """Loads the line editor. Gives the file of its history; None, and says why, where there can be none."""
    import readline

    from innkeeper.image.cache import cache_directory

    history = None
    try:
        history = cache_directory() / HISTORY
        with suppress(FileNotFoundError):  # as the first time
            readline.read_history_file(history)
    except (InnkeeperError, OSError) as error:
        say(f"there is no history: {error}", file=sys.stderr)
    return history


def complete_for(session: Session) -> None:
    import readline

    readline.set_completer(Completer(session))
    readline.set_completer_delims(DELIMITERS)
    bsd = "libedit" in (readline.__doc__ or "")  # which some Pythons are built with instead
    readline.parse_and_bind("bind ^I rl_complete" if bsd else "tab: complete")


def keep(history: Path) -> None:
    import readline

    size = os.environ.get("VIRSH_HISTSIZE", "")
    readline.set_history_length(int(size) if size.isdigit() else HISTORY_LINES)
    try:
        readline.write_history_file(history)
    except OSError as error:
        say(f"the history is not kept: {history} cannot be written: {error.strerror}", file=sys.stderr)


class Completer:
    """What readline asks for its possibilities, one after the other."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._found: list[str] = []

    def __call__(self, text: str, state: int) -> str | None:
        if state == 0:
            import readline

            line = readline.get_line_buffer()[: readline.get_endidx()]
            self._found = completions(line, text, system=self._session.system)
        return self._found[state] if state < len(self._found) else None


def completions(line: str, last: str, *, system: bool) -> list[str]:
    """How the last word of a line could go on."""
    from innkeeper.cli.complete import FILE, possibilities

    words = line.rpartition(";")[2].split()
    before = words[:-1] if last else words
    found = possibilities(["virsh", *before, last], system=system)
    return files(last) if FILE in found else [f"{each} " for each in found]


def files(start: str) -> list[str]:
    folder, _, name = start.rpartition("/")
    place = Path(folder + "/" if "/" in start else ".")
    with suppress(OSError):
        found = sorted(each for each in place.iterdir() if each.name.startswith(name))
        head = f"{folder}/" if "/" in start else ""
        return [f"{head}{each.name}{'/' if each.is_dir() else ' '}" for each in found]
    return []
