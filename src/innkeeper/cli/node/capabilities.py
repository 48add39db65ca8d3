"""`inn capabilities`: what the host can run."""

import argparse

from innkeeper.cli import results, xml_output
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    xml_output.options(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    xml = xml_output.chosen(arguments, common.manager(arguments).node.capabilities())
    results.put(arguments, xml, {"xml": xml})
    return Status.DONE
