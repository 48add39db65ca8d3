"""`inn capabilities`: what the host can run."""

import argparse

from innkeeper.cli import xml_output
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    xml_output.options(parser)


def execute(arguments: argparse.Namespace) -> int:
    print(xml_output.chosen(arguments, common.manager(arguments).node.capabilities()) + "\n")
    return Status.DONE
