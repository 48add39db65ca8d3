"""`inn attach-device`: gives a machine the device that an XML file describes."""

import argparse

from innkeeper.cli import documents, results
from innkeeper.cli.machines import changing, common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "file", "the XML of an interface or a disk")
    changing.flags(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    xml = documents.read(arguments.file)
    changed = common.manager(arguments).hardware.attach(common.name_of(arguments), xml, changing.flags_of(arguments))
    changing.tell(arguments, changed, "Device", "attached")
    return Status.DONE
