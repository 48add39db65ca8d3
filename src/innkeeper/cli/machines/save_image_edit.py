"""`inn save-image-edit`: the XML of a machine that was saved to a file, in an editor."""

import argparse
from pathlib import Path

from innkeeper.cli.editing import edit
from innkeeper.cli.machines import common, saving
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "file", "what inn save wrote", type=Path)
    saving.going_on(parser)


def execute(arguments: argparse.Namespace) -> int:
    saves, paused = common.manager(arguments).saves, saving.paused(arguments)
    file = str(arguments.file.absolute())  # the manager works elsewhere

    def keep(xml: str) -> bool:
        saves.image_define(file, xml, paused=paused)
        return True

    if edit(saves.image_xml(file), "saved.xml", keep) is None:
        if paused is not None:
            saves.image_define(file, paused=paused)
        say(f"Saved image {arguments.file} XML configuration not changed.\n")
    else:
        say(f"State file {arguments.file} edited.\n")
    return Status.DONE
