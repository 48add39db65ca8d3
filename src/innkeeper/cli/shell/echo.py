"""`echo` in `inn virsh`: the words that are given, as a shell or XML would have them if asked."""

import argparse
import shlex
import sys
from xml.sax.saxutils import escape

from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status

QUOTES = {"'": "&apos;", '"': "&quot;"}


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shell", action="store_true", help="quoted for a shell, where that is needed")
    parser.add_argument("--xml", action="store_true", help="with XML's entities")
    parser.add_argument("--split", action="store_true", help="one a line")
    parser.add_argument("--err", action="store_true", help="on the standard error")
    operand(parser, "string", "the words", required=False, many=True)


def execute(arguments: argparse.Namespace) -> int:
    words = arguments.string
    if arguments.xml:
        words = [escape(word, QUOTES) for word in words]
    if arguments.shell:
        words = [shlex.quote(word) for word in words]
    file = sys.stderr if arguments.err else sys.stdout
    file.write(("\n" if arguments.split else " ").join(words) + "\n")
    return Status.DONE
