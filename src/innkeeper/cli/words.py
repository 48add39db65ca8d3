"""What commands say to people, in their language."""

import argparse
import sys
from typing import TextIO

from innkeeper.language import chosen, translate


def say(text: str = "", *, end: str = "\n", file: TextIO | None = None, flush: bool = False) -> None:
    """`print` for words: what a message is gets translated."""
    print(translate(text), end=end, file=file, flush=flush)


def complain(text: str) -> None:
    """One line on stderr, as every error is told."""
    print(f"{translate('error:')} {translate(text)}", file=sys.stderr)


def ready() -> None:
    """Chooses the language. What the terminal's character set lacks is escaped: nobody fails for it."""
    chosen()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


class HelpFormatter(argparse.HelpFormatter):
    """Help in the reader's language."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return None if action.help is None else translate(action.help)

    def _format_text(self, text: str) -> str:
        return super()._format_text(translate(text))
