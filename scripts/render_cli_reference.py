"""Renders the command line's reference from its parsers: `render_cli_reference.py docs/reference/inn.md`."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from innkeeper.cli import VERBS, make_parser
from innkeeper.cli.parser import Operand, Parser

HEAD = (
    "# The `inn` command\n\nMade by `make docs` from the command's own parsers; a test says when it is out of date.\n"
)


def reference() -> str:
    return "\n".join([HEAD, *(section for verb in VERBS for section in sections(make_parser([verb]), verb))])


def sections(parser: argparse.ArgumentParser, verb: str) -> Iterator[str]:
    """One section for the verb, or one for each kind below it."""
    found = subparsers(parser)[verb]
    kinds = subparsers(found) if verb != "virsh" else {}  # whose commands are verbs that have sections already
    for words, leaf in {f"inn {verb} {kind}": kinds[kind] for kind in kinds}.items() or {f"inn {verb}": found}.items():
        if isinstance(leaf, Parser):
            leaf.load()
        yield section(words, leaf)


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to walk a parser
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    return {}


def section(words: str, parser: argparse.ArgumentParser) -> str:
    lines = [f"## `{words}`", "", capitalised(parser.description or "") + ".", "", "| Option | Meaning |", "|---|---|"]
    left_out = (argparse._HelpAction, argparse._SubParsersAction)  # noqa: SLF001
    options = [
        action
        for action in parser._actions  # noqa: SLF001
        if not isinstance(action, left_out) and action.help != argparse.SUPPRESS
    ]
    lines += [f"| `{form(action)}` | {meaning(action)} |" for action in options]
    if parser.epilog:
        lines += ["", capitalised(parser.epilog) + "."]
    return "\n".join([*lines, ""])


def form(action: argparse.Action) -> str:
    if isinstance(action, Operand):
        return action.shown()
    name = ", ".join(action.option_strings)
    if action.nargs == 0:
        return name
    value = "\\|".join(map(str, action.choices)) if action.choices else action.metavar or action.dest.upper()
    return f"{name} {value}"


def meaning(action: argparse.Action) -> str:
    help_text = (action.help or "") % {"default": action.default}
    needed = action.needed if isinstance(action, Operand) else action.required
    return f"{help_text} (required)" if needed else help_text


def capitalised(text: str) -> str:
    return (text[:1].upper() + text[1:]).rstrip(".")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference())
