"""`inn image create`."""

import argparse
from pathlib import Path

from innkeeper.cli.images import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.errors import ConfigError
from innkeeper.storage import FORMATS, create, describe_size, parse_size


def register(parser: argparse.ArgumentParser) -> None:
    parser.description = "Make a disk image. It has its name only when it is whole, and then replaces what had it"
    parser.add_argument("-f", dest="format", choices=FORMATS, default="raw", help="its format (default: %(default)s)")
    parser.add_argument(
        "-b", dest="backing", metavar="FILE", help="make an overlay of this image, named from the new one's folder"
    )
    parser.add_argument("-F", dest="backing_format", choices=FORMATS, help="the backing file's format")
    parser.add_argument("-u", dest="unsafe", action="store_true", help="do not look whether the backing file is there")
    common.options(parser)
    common.quiet(parser)
    parser.add_argument("image", type=Path, metavar="IMAGE", nargs="?", help="the file to make")
    parser.add_argument(
        "size", metavar="SIZE", nargs="?", help="of the disk: 512M, 20G, 1T; by default the backing image's"
    )


def execute(arguments: argparse.Namespace) -> int:
    if common.options_help(arguments.format, arguments.options):
        return Status.DONE
    if arguments.image is None:
        raise ConfigError("no image is named; give its file and its size")
    options, size = common.read_options(arguments, arguments.format)
    if arguments.size is not None and size is not None:
        raise ConfigError(f"the size is given twice: {arguments.size} and size={size}")
    if arguments.size is not None:
        size = parse_size(arguments.size)
    with common.Bar("create", arguments) as bar:
        made = create(
            arguments.image,
            size,
            image_format=arguments.format,
            options=options,
            open_backing=not arguments.unsafe,
            progress=bar,
        )
    if not arguments.quiet:
        say(f"{arguments.image}: {arguments.format}, a disk of {describe_size(made)} ({made} bytes)")
    return Status.DONE
