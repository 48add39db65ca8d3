"""What commands say to people, in their language."""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO
from unicodedata import category

from innkeeper.language import chosen, translate

BEGIN, END = 100, 40  # characters that stay of an endless word
ENDLESS = re.compile(r"\S{400,}")
LINE_LIMIT = 3000
OBEYED = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Kinds of characters (Unicode Standard Annex 44) that move, hide or turn round what is around them."""


class Manner:
    """How this process speaks."""

    quiet = False


@contextmanager
def quiet() -> Iterator[None]:
    """While it lasts, only what was asked for is printed: no messages, no heads of tables."""
    Manner.quiet = True
    try:
        yield
    finally:
        Manner.quiet = False


def say(text: str = "", *, end: str = "\n", file: TextIO | None = None, flush: bool = False) -> None:
    """`print` for messages, which are translated. What was asked for is printed without it."""
    if not (Manner.quiet and file is None):
        print(translate(text), end=end, file=file, flush=flush)


def tell_unknown(unknown: Sequence[str], *, kept: bool = True) -> None:
    """Which parts of a document mean nothing here."""
    if unknown:
        what = "kept, and without meaning here" if kept else "without meaning here, and left out"
        say(f"{what}: {', '.join(unknown)}", file=sys.stderr)


def complain(text: str) -> None:
    """One line on stderr, as every error is told."""
    print(f"{translate('error:')} {translate(one_line(text))}", file=sys.stderr)


def one_line(text: str) -> str:
    r"""With what a terminal would obey made visible, and endless words cut: names in it are whatever somebody has typed.

    >>> print(one_line("there is no machine a\nb"))
    there is no machine a\nb
    """
    text = ENDLESS.sub(lambda word: f"{word[0][:BEGIN]}…{word[0][-END:]}", text)
    if len(text) > LINE_LIMIT:
        text = f"{text[: LINE_LIMIT // 2]} … {text[-LINE_LIMIT // 3 :]}"
    return "".join(repr(each)[1:-1] if category(each) in OBEYED else each for each in text)


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
