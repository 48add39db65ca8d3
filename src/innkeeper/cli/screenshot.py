"""`inn screenshot`: what a running machine's screen shows, as a file."""

import argparse
import sys
from pathlib import Path

from innkeeper.cli import reach
from innkeeper.cli.status import Status
from innkeeper.display.picture import Picture, PictureFormat, write_whole
from innkeeper.errors import ConfigError

STDOUT = Path("-")


def register(parser: argparse.ArgumentParser) -> None:
    reach.add_options(parser)
    parser.add_argument(
        "--format",
        choices=[kind.value for kind in PictureFormat],
        help="png, ppm, or txt for what a screen in a text mode says (default: what FILE ends in, or png)",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="where to; - is standard output")


def execute(arguments: argparse.Namespace) -> int:
    data = shot(arguments, format_of(arguments))
    if arguments.file == STDOUT:
        sys.stdout.buffer.write(data)
    else:
        write_whole(arguments.file, data)
    return Status.DONE


def format_of(arguments: argparse.Namespace) -> PictureFormat:
    ending = arguments.file.suffix.removeprefix(".").lower()
    if arguments.format is not None:
        return PictureFormat(arguments.format)
    if not ending:
        return PictureFormat.PNG
    try:
        return PictureFormat(ending)
    except ValueError:
        raise ConfigError(f"{arguments.file} ends in .{ending}; name it .png, .ppm or .txt, or give --format") from None


def shot(arguments: argparse.Namespace, kind: PictureFormat) -> bytes:
    if kind is PictureFormat.TEXT:
        text: str = reach.ask(arguments, "text")
        return text.encode()
    picture = Picture.from_answer(reach.ask(arguments, "screenshot"))
    return picture.png() if kind is PictureFormat.PNG else picture.ppm()
