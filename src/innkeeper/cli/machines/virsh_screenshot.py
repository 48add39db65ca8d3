"""`inn virsh screenshot`: virsh's words for what `inn screenshot` does."""

import argparse
import time
from pathlib import Path

from innkeeper.cli import results
from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "file", "where to (default: a name made of the machine's and the time)", required=False, type=Path)
    parser.add_argument("--screen", type=int, default=0, metavar="N", help="0, the one that there is")
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    from innkeeper.display.picture import Picture, write_whole

    if arguments.screen != 0:
        raise ConfigError(f"screen is {arguments.screen}; machines have one, 0")
    picture = Picture.from_answer(common.ask(arguments, "screenshot"))
    file = arguments.file
    if file is None:
        file = Path(f"{common.name_of(arguments)}-{time.strftime('%Y-%m-%d-%H:%M:%S')}.png")
    ppm = file.suffix.lower() == ".ppm"
    write_whole(file, picture.ppm() if ppm else picture.png())
    results.say(
        arguments,
        f"Screenshot saved to {file}, with type of image/{'x-portable-pixmap' if ppm else 'png'}",
        {"file": str(file), "type": f"image/{'x-portable-pixmap' if ppm else 'png'}"},
    )
    return Status.DONE
