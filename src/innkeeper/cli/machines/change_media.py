"""`inn change-media`: changes the disc in a CD-ROM drive."""

import argparse
from pathlib import Path

from innkeeper.cli import results
from innkeeper.cli.machines import changing, common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError

DONE = {"eject": "ejected", "insert": "inserted", "update": "updated"}


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "path", "the drive: its target, as in hdc, or the file in it")
    operand(parser, "source", "the file to put in", required=False)
    for how in DONE:
        parser.add_argument(f"--{how}", action="store_true", help=f"{how} the disc")
    parser.add_argument("--block", action="store_true", help="the source is a block device, which is seen anyway")
    parser.add_argument(
        "--print-xml", action="store_true", help="print the drive's XML as it would be, and change nothing"
    )
    parser.add_argument("--force", action="store_true", help="even if the guest has locked the drive")
    changing.flags(parser, persistent=False)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    drive, source = arguments.path, arguments.source
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
    manager = common.manager(arguments)
    if arguments.block and (file is None or manager.node.kind(file) != "block"):
        raise ConfigError(f"--block is given, and {file or 'nothing'} is no block device; leave it out")
    if arguments.print_xml:
        from innkeeper.manager import changes

        changed = changes.change_media(manager.hardware.xml(name, inactive=changing.kept_one(flags)), drive, file, how)
        xml = changing.kept_device(changed, lambda root: changes.find_disk(root, drive))
        results.put(arguments, xml, {"xml": xml})
        return Status.DONE
    done = manager.hardware.change_media(name, drive, file, how, flags, force=arguments.force)
    results.say(arguments, f"Successfully {DONE[how]} media.", done)
    return Status.DONE
