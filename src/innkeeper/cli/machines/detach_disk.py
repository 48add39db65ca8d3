"""`inn detach-disk`: takes a disk from a machine."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import changing, common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "target", "the disk: its target, as in vdb, or its file")
    parser.add_argument("--print-xml", action="store_true", help="print the disk's XML and change nothing")
    changing.flags(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    xml = changing.element("disk", {}, ("target", {"dev": arguments.target}))
    manager = common.manager(arguments)
    if arguments.print_xml:
        from innkeeper.manager.changes import find_disk

        kept = changing.kept_one(changing.flags_of(arguments))
        document = manager.hardware.xml(common.name_of(arguments), inactive=kept)
        xml = changing.kept_device(document, lambda root: find_disk(root, arguments.target))
        results.put(arguments, xml, {"xml": xml})
        return Status.DONE
    hardware = manager.hardware
    changing.tell(
        arguments, hardware.detach(common.name_of(arguments), xml, changing.flags_of(arguments)), "Disk", "detached"
    )
    return Status.DONE
