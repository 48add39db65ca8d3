"""What verbs answer: a sentence or data for people, or with `--json` the same for programs."""

import argparse
import json
from typing import Any

from innkeeper.cli.words import Manner
from innkeeper.language import translate


def as_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def say(arguments: argparse.Namespace, sentence: str, value: object) -> None:
    """What was done."""
    if arguments.json or not Manner.quiet:
        put(arguments, translate(sentence), value)


def put(arguments: argparse.Namespace, text: str, value: object) -> None:
    """Data, as it is."""
    if arguments.json:
        show_json(value)
    else:
        print(f"{text}\n")


def show(arguments: argparse.Namespace, value: str, key: str) -> None:
    """One value, alone on its line."""
    put(arguments, value, {key: value})


def show_json(value: Any) -> None:
    print(json.dumps(value, indent=2))
