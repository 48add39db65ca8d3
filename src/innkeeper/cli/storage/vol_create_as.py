"""`inn vol-create-as`: makes a volume."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common
from innkeeper.manager.storage.describe import describe_volume
from innkeeper.manager.storage.sizes import size


def register(parser: argparse.ArgumentParser) -> None:
    required = {
        "name": "what the volume is called",
        "capacity": "how large its disk is: bytes, or with a suffix as in 10G",
    }
    common.words(parser, common.POOL | required)
    parser.add_argument(
        "--allocation", metavar="SIZE", help="how much space it takes at once; all of it for raw by default"
    )
    parser.add_argument("--format", metavar="FORMAT", help="raw (default) or qcow2")
    parser.add_argument("--backing-vol", metavar="VOL", help="the volume that it is an overlay of: name, key or path")
    parser.add_argument("--backing-vol-format", metavar="FORMAT", help="the format of that one, which must be given")
    parser.add_argument("--prealloc-metadata", action="store_true", help="with all of qcow2's tables")
    parser.add_argument("--print-xml", action="store_true", help="show the volume's XML, and make nothing")


def execute(arguments: argparse.Namespace) -> int:
    xml = document(arguments)
    if arguments.print_xml:
        common.put(arguments, xml.rstrip("\n"), {"xml": xml})
        return Status.DONE
    work = common.volumes(arguments).create(arguments.pool, xml, prealloc_metadata=arguments.prealloc_metadata)
    made = common.follow(f"Creating {arguments.name}", work)
    common.say(arguments, f"Vol {made['name']} created", made)
    return Status.DONE


def document(arguments: argparse.Namespace) -> str:
    backing = arguments.backing_vol
    if backing is not None:
        backing = common.volumes(arguments).info(common.absolute(backing), None if "/" in backing else arguments.pool)[
            "path"
        ]
    allocation = arguments.allocation
    wanted = {
        "name": arguments.name,
        "capacity": str(size(arguments.capacity, "capacity")),
        "allocation": None if allocation is None else str(size(allocation, "allocation")),
        "format": arguments.format,
        "backing": backing,
        "backing_format": arguments.backing_vol_format,
    }
    return describe_volume(wanted)
