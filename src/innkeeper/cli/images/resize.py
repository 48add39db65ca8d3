"""`inn image resize`."""

import argparse

from innkeeper.cli.images import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.errors import ConfigError
from innkeeper.storage import PREALLOCATIONS, describe_size, info, parse_size, resize


def register(parser: argparse.ArgumentParser) -> None:
    parser.description = "Give a disk another size. Partitions and file systems on it stay as they are"
    parser.epilog = "A size that begins with - must follow --, as in: inn image resize --shrink disk.raw -- -1G"
    common.image_format(parser)
    parser.add_argument("--shrink", action="store_true", help="lose what lies beyond a smaller size")
    parser.add_argument(
        "--preallocation", choices=PREALLOCATIONS, default="off", help="of what is added (default: %(default)s)"
    )
    common.progress(parser)
    common.image(parser)
    parser.add_argument("size", metavar="SIZE", help="the new size; with + or - before it, how much more or less")


def execute(arguments: argparse.Namespace) -> int:
    size = new_size(arguments)
    with common.Bar("resize", arguments) as bar:
        resize(
            arguments.image,
            size,
            arguments.format,
            shrink=arguments.shrink,
            preallocation=arguments.preallocation,
            progress=bar,
        )
    if not arguments.quiet:
        say(f"{arguments.image}: a disk of {describe_size(size)} ({size} bytes)")
    return Status.DONE


def new_size(arguments: argparse.Namespace) -> int:
    sign, rest = arguments.size[:1], arguments.size[1:]
    if sign not in ("+", "-"):
        return parse_size(arguments.size)
    amount, now = parse_size(rest), info(arguments.image, arguments.format)["virtual-size"]
    if sign == "-" and amount > now:
        raise ConfigError(f"{arguments.image} has {now} bytes, and {amount} less cannot be")
    return now + amount if sign == "+" else now - amount
