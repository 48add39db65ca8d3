"""`inn save-image-dumpxml`: the machine that is in a file, as XML."""

import argparse
from pathlib import Path

from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "file", "what inn save wrote", type=Path)


def execute(arguments: argparse.Namespace) -> int:
    print(common.manager(arguments).saves.image_xml(str(arguments.file.absolute())))
    return Status.DONE
