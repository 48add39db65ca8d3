"""`inn change-media`: changes the disc in a CD-ROM drive."""

import argparse
from pathlib import Path

from innkeeper.cli.machines import changing, common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.errors import ConfigError

DONE = {"eject": "ejected", "insert": "inserted", "update": "updated"}


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    changing.operand(parser, "path", "the drive: its target, as in hdc, or the file in it")
    changing.operand(parser, "source", "the file to put in")
    for how in DONE:
        parser.add_argument(f"--{how}", action="store_true", help=f"{how} the disc")
    parser.add_argument("--force", action="store_true", help="even if the guest has locked the drive")
    changing.flags(parser, persistent=False)


def execute(arguments: argparse.Namespace) -> int:
    drive, source = changing.word(arguments, "path"), changing.maybe(arguments, "source")
    asked = [how for how in DONE if getattr(arguments, how)]
    if len(asked) > 1:
        raise ConfigError(f"--{asked[0]} and --{asked[1]} are both given; one thing at a time")
    how = asked[0] if asked else "update"
    if how == "eject" and source is not None:
        raise ConfigError("a source is given with --eject; leave one of them out")
    if how != "eject" and source is None:
        raise ConfigError(f"source is missing; name the disc to {how}, or --eject the one that is there")
    file = str(Path(source).absolute()) if source is not None else None
    name, flags = common.name_of(arguments), changing.flags_of(arguments)
    common.manager(arguments).hardware.change_media(name, drive, file, how, flags, force=arguments.force)
    say(f"Successfully {DONE[how]} media.\n")
    return Status.DONE
