"""`inn save-image-edit`: the XML of a machine that was saved to a file, in an editor."""

import argparse
from pathlib import Path

from innkeeper.cli import results
from innkeeper.cli.editing import edit
from innkeeper.cli.machines import common, saving
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "file", "what inn save wrote", type=Path)
    saving.going_on(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    saves, paused = common.manager(arguments).saves, saving.paused(arguments)
    file = str(arguments.file.absolute())  # the manager works elsewhere

    def keep(xml: str) -> bool:
        saves.image_define(file, xml, paused=paused)
        return True

    if edit(saves.image_xml(file), "saved.xml", keep) is None:
        if paused is not None:
            saves.image_define(file, paused=paused)
        results.say(
            arguments,
            f"Saved image {arguments.file} XML configuration not changed.",
            {"file": str(arguments.file), "changed": False},
        )
    else:
        results.say(arguments, f"State file {arguments.file} edited.", {"file": str(arguments.file), "changed": True})
    return Status.DONE
