"""`inn save-image-dumpxml`: the machine that is in a file, as XML."""

import argparse
from pathlib import Path

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="what inn save wrote")


def execute(arguments: argparse.Namespace) -> int:
    print(common.manager(arguments).saves.image_xml(str(arguments.file.absolute())))
    return Status.DONE
