"""`inn snapshot-create-as`: takes a snapshot of a machine, described by options."""

import argparse
from pathlib import Path
from xml.etree import ElementTree as ET

from innkeeper.cli.parser import operand
from innkeeper.cli.snapshots import common
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import put, say, words
from innkeeper.errors import ConfigError
from innkeeper.manager.storage.describe import indented


def register(parser: argparse.ArgumentParser) -> None:
    words(parser, common.DOMAIN, {"name": "what it is called; by default the time", "description": "words about it"})
    operand(
        parser,
        "diskspec",
        "how a disk is part of it; the disk is named by its target or its file. A comma within is written twice",
        required=False,
        many=True,
        metavar="DISK[,snapshot=internal|external|no][,file=FILE]",
    )
    common.taking(parser)
    parser.add_argument(
        "--memspec",
        metavar="[file=]FILE[,snapshot=internal|external|no]",
        help="where the memory of a machine that runs goes; without a file, beside its definition",
    )
    parser.add_argument("--print-xml", action="store_true", help="show the snapshot's XML, and take none")


def execute(arguments: argparse.Namespace) -> int:
    if arguments.memspec is not None and arguments.disk_only:
        raise ConfigError("--memspec is of memory, and --disk-only is without; give one of both")
    memspec = memory(arguments.memspec) if arguments.memspec is not None else None
    xml = describe(arguments.name, arguments.description, arguments.diskspec, memspec)
    if arguments.print_xml:
        put(arguments, xml.rstrip("\n"), {"xml": xml})
        return Status.DONE
    taken = common.take(arguments, xml)
    say(arguments, f"Domain snapshot {taken['name']} created", taken)
    return Status.DONE


def describe(name: str | None, description: str | None, specs: list[str], memspec: ET.Element | None = None) -> str:
    """The document that the options mean."""
    root = ET.Element("domainsnapshot")
    for tag, text in (("name", name), ("description", description)):
        if text is not None:
            ET.SubElement(root, tag).text = text
    if memspec is not None:
        root.append(memspec)
    disks = ET.SubElement(root, "disks") if specs else root
    for spec in specs:
        disks.append(disk(spec))
    return indented(root)


def memory(spec: str) -> ET.Element:
    """Raises `ConfigError` for a key that is unknown.

    >>> ET.tostring(memory("/path/to,,memory,snapshot=external"), encoding="unicode")
    '<memory file="/path/to,memory" snapshot="external" />'
    """
    part = ET.Element("memory")
    for number, word in enumerate(words_of(spec)):
        key, equals, value = word.partition("=")
        if key == "snapshot" and value:
            part.set("snapshot", value)
        elif (key == "file" and value) or (number == 0 and word and not equals):
            part.set("file", str(Path(value or word).absolute()))
        else:
            raise ConfigError(f"--memspec {spec!r} has {word!r}; it knows file and snapshot")
    return part


def words_of(spec: str) -> list[str]:
    return [word.replace("\0", ",") for word in spec.replace(",,", "\0").split(",")]


def disk(spec: str) -> ET.Element:
    """Raises `ConfigError` for a key that is unknown.

    >>> ET.tostring(disk("vda,snapshot=external,file=/path/to,,new"), encoding="unicode")
    '<disk name="vda" snapshot="external"><source file="/path/to,new" /></disk>'
    """
    name, *pairs = words_of(spec)
    part = ET.Element("disk", name=name)
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if key == "snapshot" and value:
            part.set("snapshot", value)
        elif key == "file" and value:
            ET.SubElement(part, "source", file=str(Path(value).absolute()))
        elif (key, value) not in (("driver", "qcow2"), ("stype", "file")):
            known = "snapshot, file, driver=qcow2 and stype=file"
            raise ConfigError(f"--diskspec {spec!r} has {pair if equals else key!r}; it knows {known}")
    return part
