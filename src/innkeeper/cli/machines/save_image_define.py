"""`inn save-image-define`: another XML for a machine that was saved to a file."""

import argparse
from pathlib import Path

from innkeeper.cli.machines import common, saving
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import read, say, words


def register(parser: argparse.ArgumentParser) -> None:
    words(parser, {"file": "what inn save wrote", "xml": "the machine's XML, with other paths of disks and the like"})
    saving.going_on(parser)


def execute(arguments: argparse.Namespace) -> int:
    file = str(Path(arguments.file).absolute())  # the manager works elsewhere
    common.manager(arguments).saves.image_define(file, read(arguments.xml), paused=saving.paused(arguments))
    say(arguments, f"State file {arguments.file} updated.", {"file": file})
    return Status.DONE
