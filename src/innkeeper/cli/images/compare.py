"""`inn image compare`, with qemu-img's exit statuses."""

import argparse
from enum import IntEnum
from pathlib import Path

from innkeeper.cli.images import common
from innkeeper.cli.words import complain, say
from innkeeper.errors import ImageError
from innkeeper.storage import FORMATS, compare


class Result(IntEnum):
    """What the exit status says."""

    ALIKE = 0
    DIFFERENT = 1
    FAILED = 2


def register(parser: argparse.ArgumentParser) -> None:
    parser.description = "Look whether two disks have the same contents"
    parser.epilog = "Exit status: 0 alike, 1 different, 2 they could not be compared"
    parser.add_argument(
        "-f", dest="first_format", choices=FORMATS, help="the first image's format; by default it is probed"
    )
    parser.add_argument("-F", dest="second_format", choices=FORMATS, help="the second's")
    parser.add_argument("-s", dest="strict", action="store_true", help="sizes and allocation must be alike as well")
    common.share(parser)
    common.progress(parser)
    parser.add_argument("first", type=Path, metavar="FIRST", help="one image")
    parser.add_argument("second", type=Path, metavar="SECOND", help="and the other")


def execute(arguments: argparse.Namespace) -> int:
    try:
        with common.Bar("compare", arguments) as bar:
            difference = compare(
                arguments.first,
                arguments.second,
                formats=(arguments.first_format, arguments.second_format),
                strict=arguments.strict,
                share=arguments.share,
                progress=bar,
            )
    except ImageError as error:
        complain(str(error))
        return Result.FAILED
    if not arguments.quiet:
        say(difference or "the images are alike")
    return Result.ALIKE if difference is None else Result.DIFFERENT
