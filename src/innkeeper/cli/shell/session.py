"""`inn virsh`'s commands, one after the other: each as it would be by itself, with the options that were given before all of them."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, redirect_stdout

from innkeeper.cli import guarded
from innkeeper.cli.shell.commands import FAILED, READING, command, named
from innkeeper.cli.shell.lines import commands
from innkeeper.cli.shell.quiet import Terse
from innkeeper.cli.status import Status
from innkeeper.cli.words import quiet
from innkeeper.errors import ConfigError

logger = logging.getLogger(__name__)


class Session:
    """What commands have in common. `escape` leaves a console; `ended` is what `quit` sets."""

    interactive = False
    ended = False

    def __init__(self, *, system: bool, readonly: bool, quiet: bool, timing: bool, escape: bytes) -> None:
        self.system = self.began_with = system
        self.readonly, self.quiet, self.timing, self.escape = readonly, quiet, timing, escape

    def run_all(self, text: str) -> int:
        """The commands of a string, to the last one or `quit`; gives the exit status of the last."""
        parsed: list[list[str]] = []

        def parse() -> int:
            parsed.extend(commands(text))
            return Status.DONE

        status = guarded(parse, mistake=FAILED)
        for words in parsed:
            status = self.run(words)
            if self.ended:
                break
        return status

    def run(self, words: Sequence[str]) -> int:
        """One command; gives its exit status, and has said what went wrong."""
        begun = time.monotonic()
        with (
            quiet() if self.quiet else nullcontext(),
            redirect_stdout(Terse(sys.stdout)) if self.quiet else nullcontext(),
        ):
            status = guarded(lambda: self._execute(words), mistake=FAILED)
        if status == Status.MISTAKE:  # as plain verbs call it
            status = FAILED
        taken_ms = 1000 * (time.monotonic() - begun)
        logger.debug("%s ends with status %d after %.3f ms", words[0], status, taken_ms)
        if self.timing:
            print(f"(Time: {taken_ms:.3f} ms)\n")
        return status

    def _execute(self, words: Sequence[str]) -> int:
        """Raises `InnkeeperError`."""
        parser = command(words[0])
        if parser is None:
            raise ConfigError(f"there is no command {words[0]!r}{named(words[0])}; help lists all")
        if self.readonly and words[0] not in READING:
            raise ConfigError(f"{words[0]} may change something, which --readonly rules out; leave that out")
        with ExitStack() as held:
            given = argparse.Namespace(held=held, system=self.system, session=self)
            try:
                arguments = parser.parse_args(words[1:], given)
            except SystemExit as left:  # help was asked for, or there is a mistake, which has been told
                return int(left.code or 0)
            status: int = arguments.verb.execute(arguments)
            return status
