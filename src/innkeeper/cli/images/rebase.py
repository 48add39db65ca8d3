"""`inn image rebase`."""

import argparse

from innkeeper.cli.images import common
from innkeeper.cli.status import Status
from innkeeper.storage import FORMATS, rebase


def register(parser: argparse.ArgumentParser) -> None:
    parser.description = "Back an overlay by another image, or by none. Its disk stays the same"
    common.image_format(parser)
    parser.add_argument(
        "-b",
        dest="backing",
        metavar="FILE",
        required=True,
        help="the new backing file, named from the overlay's folder; empty for none",
    )
    parser.add_argument("-F", dest="backing_format", choices=FORMATS, help="its format")
    unsafe = "write the name only: the disk stays the same only if FILE has what the old backing file had"
    parser.add_argument("-u", dest="unsafe", action="store_true", help=unsafe)
    common.progress(parser)
    common.image(parser)


def execute(arguments: argparse.Namespace) -> int:
    with common.Bar("rebase", arguments) as bar:
        rebase(
            arguments.image,
            arguments.backing or None,
            image_format=arguments.format,
            backing_format=arguments.backing_format,
            unsafe=arguments.unsafe,
            progress=bar,
        )
    return Status.DONE
