"""`inn vol-clone`: makes a volume like another."""

import argparse
from pathlib import Path
from xml.etree import ElementTree as ET

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.VOLUME | {"newname": "what the new one is called"})
    common.in_pool(parser)
    parser.add_argument("--print-xml", action="store_true", help="show the new volume's XML, and make nothing")
    parser.add_argument("--prealloc-metadata", action="store_true", help="with all of qcow2's tables")
    parser.add_argument(
        "--reflink", action="store_true", help="share blocks with the other; an error where that cannot be"
    )


def execute(arguments: argparse.Namespace) -> int:
    if arguments.print_xml:
        volumes, vol = common.volumes(arguments), common.absolute(arguments.vol, arguments.pool)
        xml = renamed(volumes.xml(vol, arguments.pool), arguments.newname)
        common.put(arguments, xml, {"xml": xml})
        return Status.DONE
    work = common.volumes(arguments).clone(
        common.absolute(arguments.vol, arguments.pool),
        arguments.newname,
        arguments.pool,
        reflink=arguments.reflink,
        prealloc_metadata=arguments.prealloc_metadata,
    )
    made = common.follow(f"Cloning to {arguments.newname}", work)
    common.say(arguments, f"Vol {made['name']} cloned from {Path(arguments.vol).name}", made)
    return Status.DONE


def renamed(xml: str, name: str) -> str:
    """A volume's document under another name, without what is the volume's own."""
    root = ET.fromstring(xml)  # noqa: S314 - our own
    for tag, path in (("name", "name"), ("key", "key"), ("path", "target/path")):
        part = root.find(path)
        if part is not None and tag == "name":
            part.text = name
        elif part is not None and tag == "path":
            part.text = str(Path(part.text or "").with_name(name))
        elif part is not None:
            root.remove(part)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")
