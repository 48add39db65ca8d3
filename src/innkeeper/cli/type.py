"""`inn type`: text for a running machine, typed on a US keyboard."""

import argparse
import sys

from innkeeper.cli import reach
from innkeeper.cli.status import Status
from innkeeper.display.keys import typing

DEFAULT_DELAY_MS = 15
STDIN = ["-"]


def register(parser: argparse.ArgumentParser) -> None:
    reach.add_options(parser)
    parser.add_argument(
        "--delay", type=int, default=DEFAULT_DELAY_MS, metavar="MS", help="between two strokes (default: %(default)s)"
    )
    parser.add_argument("--enter", action="store_true", help="press Enter at the end")
    parser.add_argument(
        "text", nargs="+", metavar="TEXT", help="words, typed with a blank between; - is standard input"
    )


def execute(arguments: argparse.Namespace) -> int:
    text = sys.stdin.read() if arguments.text == STDIN else " ".join(arguments.text)
    strokes = typing(text + "\n" if arguments.enter else text)
    reach.ask(arguments, "strike", strokes=strokes, pause_ms=arguments.delay)
    return Status.DONE
