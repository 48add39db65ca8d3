"""`inn managedsave-dumpxml`: the XML of a machine that goes on with its next start."""

import argparse

from innkeeper.cli import results, xml_output
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    xml_output.options(parser, secrets=True)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    xml = common.manager(arguments).saves.managed_xml(common.name_of(arguments))
    xml = xml_output.chosen(arguments, xml)
    results.put(arguments, xml, {"xml": xml})
    return Status.DONE
