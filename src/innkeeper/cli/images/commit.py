"""`inn image commit`."""

import argparse

from innkeeper.cli.images import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.storage import commit


def register(parser: argparse.ArgumentParser) -> None:
    parser.description = "Write what an overlay has into the image it is backed by, and empty the overlay"
    common.image_format(parser)
    parser.add_argument(
        "-b", dest="base", metavar="FILE", help="into this image further down; the overlay is not emptied then"
    )
    parser.add_argument("-d", dest="keep", action="store_true", help="do not empty the overlay")
    common.progress(parser)
    common.image(parser)


def execute(arguments: argparse.Namespace) -> int:
    with common.Bar("commit", arguments) as bar:
        commit(arguments.image, arguments.format, base=arguments.base, keep=arguments.keep, progress=bar)
    if not arguments.quiet:
        say(f"{arguments.image}: committed")
    return Status.DONE
