"""`inn restore`: a machine goes on where it was saved to a file."""

import argparse
from pathlib import Path

from innkeeper.cli import results
from innkeeper.cli.machines import common, saving
from innkeeper.cli.parser import operand, refuse
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "file", "what inn save wrote", type=Path)
    saving.around_cache(parser)
    saving.another_xml(parser)
    saving.going_on(parser)
    refuse(parser, {"--reset-nvram": "a machine that goes on has its UEFI variables in use"})
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    file = str(arguments.file.absolute())  # the manager works elsewhere
    xml, paused = saving.read_xml(arguments), saving.paused(arguments)
    name = common.manager(arguments).saves.restore(file, xml=xml, paused=paused, bypass_cache=arguments.bypass_cache)
    results.say(arguments, f"Domain restored from {arguments.file}", {"name": name})
    return Status.DONE
