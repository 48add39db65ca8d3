"""`inn save-image-dumpxml`: the machine that is in a file, as XML."""

import argparse
from pathlib import Path

from innkeeper.cli import results, xml_output
from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "file", "what inn save wrote", type=Path)
    xml_output.options(parser, secrets=True)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    xml = common.manager(arguments).saves.image_xml(str(arguments.file.absolute()))
    xml = xml_output.chosen(arguments, xml)
    results.put(arguments, xml, {"xml": xml})
    return Status.DONE
