"""`inn blockcopy`: a disk of a running machine is copied, and the copy kept alike until it is said whether the machine moves to it."""

from __future__ import annotations

import argparse
from pathlib import Path
from xml.etree import ElementTree as ET

from innkeeper.cli.machines import blocking, common
from innkeeper.cli.parser import operand, refuse
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import read, say
from innkeeper.errors import ConfigError
from innkeeper.language import translate

REFUSED = {
    "--granularity BYTES": "what a guest writes is copied as it is, and not by blocks",
    "--buf-size BYTES": "a part of 4 MiB is copied at a time",
}


def register(parser: argparse.ArgumentParser) -> None:
    blocking.disk(parser)
    operand(parser, "dest", "the file or device to copy to", required=False)
    operand(parser, "bandwidth", "at most so many MiB a second", required=False)
    add = parser.add_argument
    add("--format", choices=("raw", "qcow2"), help="of the copy; the disk's, if it is not given")
    add("--raw", action="store_true", help="the same as --format raw")
    add("--xml", metavar="FILE", help="the copy as a <disk> that XML describes, instead of DEST")
    add("--blockdev", action="store_true", help="the copy is to a block device, which is there")
    add("--shallow", action="store_true", help="only what the image in use has: the copy lies over what that lies over")
    add("--reuse-external", action="store_true", help="the copy's file is there")
    end = parser.add_mutually_exclusive_group().add_argument
    end("--pivot", action="store_true", help="--wait, and then the machine moves to the copy")
    end("--finish", action="store_true", help="--wait, and then the machine stays on its image")
    add("--transient-job", action="store_true", help="the job ends with the machine, as it does anyway")
    add("--synchronous-writes", action="store_true", help="each write goes to both images at once anyway")
    add("--print-xml", action="store_true", help="print the copy's <disk>, and do nothing")
    refuse(parser, REFUSED)
    blocking.waiting(parser)
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    manager, name, path = common.manager(arguments), common.name_of(arguments), arguments.path
    place, image_format = destination(arguments)
    reuse = arguments.reuse_external or arguments.blockdev
    is_block = manager.node.kind(str(place)) == "block"
    if arguments.blockdev and not is_block:
        raise ConfigError(f"--blockdev: {place} is no block device of this host")
    waits, limit = blocking.waits(arguments, "pivot", "finish"), blocking.bandwidth(arguments)
    if arguments.print_xml:
        print(ET.tostring(described(place, image_format, is_block=is_block), encoding="unicode"))
        return Status.DONE
    blocks = manager.blocks
    number = blocks.copy(
        name, path, str(place), image_format=image_format, shallow=arguments.shallow, reuse=reuse, bandwidth=limit
    )
    if not waits:
        say(arguments, "Block Copy started", blocking.begun(path, number))
        return Status.DONE
    title, aborted = translate("Block copy"), translate("Copy aborted")
    if not blocking.waited(arguments, name, number, title=title, aborted=aborted):
        return Status.MISTAKE
    if arguments.pivot:
        blocks.pivot(name, path)
        say(arguments, "Successfully pivoted", blocking.ended(path))
    elif arguments.finish:
        blocks.abort(name, path)
        say(arguments, "Successfully copied", blocking.ended(path))
    else:
        say(arguments, "Now in mirroring phase", blocking.ended(path))
    return Status.DONE


def destination(arguments: argparse.Namespace) -> tuple[Path, str | None]:
    """The copy's place, and its format if that is said. Raises `ConfigError`."""
    dest = arguments.dest
    if (dest is None) == (arguments.xml is None):
        raise ConfigError("the copy's place is DEST, or --xml describes it; give one of both")
    if arguments.raw and arguments.format not in (None, "raw"):
        raise ConfigError(f"--raw and --format {arguments.format} exclude each other")
    image_format = "raw" if arguments.raw else arguments.format
    if dest is not None:
        return Path(dest).absolute(), image_format  # the manager works elsewhere
    from innkeeper.manager.elements import attribute, parse

    root = parse(read(arguments.xml), "the disk")
    file = attribute(root, "source", "file") or attribute(root, "source", "dev")
    if root.tag != "disk" or file is None:
        raise ConfigError("the copy's XML must be a <disk> with a <source file>")
    return Path(file).absolute(), image_format or attribute(root, "driver", "type")


def described(place: Path, image_format: str | None, *, is_block: bool) -> ET.Element:
    kind = "block" if is_block else "file"
    root = ET.Element("disk", type=kind)
    ET.SubElement(root, "source", {"dev" if kind == "block" else "file": str(place)})
    if image_format is not None:
        ET.SubElement(root, "driver", type=image_format)
    ET.indent(root)
    return root
