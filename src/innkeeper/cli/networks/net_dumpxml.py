"""`inn net-dumpxml`: a network's XML."""

import argparse

from innkeeper.cli import results, xml_output
from innkeeper.cli.networks import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser)
    parser.add_argument("--inactive", action="store_true", help="what it will be started from, even if it is active")
    xml_output.options(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    xml = common.networks(arguments).xml(common.name_of(arguments), inactive=arguments.inactive)
    xml = xml_output.chosen(arguments, xml)
    results.put(arguments, xml, {"xml": xml})
    return Status.DONE
