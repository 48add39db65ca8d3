"""`inn managedsave-dumpxml`: the XML of a machine that goes on with its next start."""

import argparse

from innkeeper.cli import xml_output
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--security-info", action="store_true", help="passwords too: they are shown anyway")
    xml_output.options(parser)


def execute(arguments: argparse.Namespace) -> int:
    print(xml_output.chosen(arguments, common.manager(arguments).saves.managed_xml(common.name_of(arguments))))
    return Status.DONE
