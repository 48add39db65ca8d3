"""Arguments that several tools share, and their progress."""

import argparse
import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from innkeeper.cli.progress import ProgressBar
from innkeeper.storage import FORMATS, ImageOptions, describe_size, parse_options
from innkeeper.storage.options import MEANINGS, OF_RAW

SETTLED_S = 1.0
LINE_S = 1.0


def image(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the image's file")


def image_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", dest="format", choices=FORMATS, help="its format; by default it is probed")


def share(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-U", "--force-share", dest="share", action="store_true", help="although a machine may be writing to it"
    )


def output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", choices=("human", "json"), default="human", help="for people or for programs")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        dest="options",
        action="append",
        default=[],
        metavar="NAME=VALUE,...",
        help="how it is laid out; -o help lists what there is",
    )


def quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", dest="quiet", action="store_true", help="say nothing but what went wrong")


def progress(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-p", dest="progress", action="store_true", help="say how far it is although stderr is no terminal"
    )
    quiet(parser)


class Bar:
    """The progress of a tool, in bytes: a bar on a terminal; lines elsewhere if they are asked for."""

    def __init__(self, what: str, arguments: argparse.Namespace) -> None:
        self.what = what
        self.quiet = arguments.quiet
        self.lines = getattr(arguments, "progress", False) and not sys.stderr.isatty() and not self.quiet
        self.bar = ProgressBar(what)
        self.begun = time.monotonic()
        self.said = 0.0

    def __enter__(self) -> Self:
        self.bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.__exit__(kind, error, trace)

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.lines and (done == total or now - self.said >= LINE_S):
            self.said = now
            print(f"{self.what}: {done / total:.0%}", file=sys.stderr, flush=True)
        elif not self.quiet:
            elapsed = now - self.begun
            rate = f"{describe_size(int(done / elapsed))}/s" if elapsed >= SETTLED_S else ""
            self.bar(rate, done / total)


def options_help(of_format: str, asked: list[str]) -> bool:
    """Whether `-o help` was given; then the options have been listed."""
    if not any(word in ("help", "?") for text in asked for word in text.split(",")):
        return False
    for name, meaning in MEANINGS.items():
        if of_format != "raw" or name in OF_RAW:
            print(f"{name:18}{meaning}")
    return True


def read_options(arguments: argparse.Namespace, of_format: str) -> tuple[ImageOptions, int | None]:
    return parse_options(of_format, arguments.options, arguments.backing, arguments.backing_format)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=4))
