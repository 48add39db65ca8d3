"""`inn create`: starts the machine that an XML file describes, without keeping it."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import common, starting
from innkeeper.cli.parser import operand
from innkeeper.cli.storage.common import read
from innkeeper.cli.words import tell_unknown


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "file", "libvirt's domain XML; - is the standard input")
    starting.options(parser)
    parser.add_argument("--validate", action="store_true", help="it is always checked")
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    manager = common.manager(arguments)
    made = manager.domains.create(read(arguments.file), paused=arguments.paused, reset_nvram=arguments.reset_nvram)
    name = made["name"]
    with starting.held(arguments, manager, name):
        tell_unknown(made["unknown"], kept=False)
        common.tell_notes(manager, name)
        results.say(arguments, f"Domain '{name}' created from {arguments.file}", made)
        return starting.go_on(arguments, manager, name)
