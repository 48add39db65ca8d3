"""`inn autostart`: whether a machine starts with the manager."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.parser import refuse
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--disable", action="store_true", help="no longer")
    refuse(parser, {"--once": "a machine is started each time that the host has started, or never"})


def execute(arguments: argparse.Namespace) -> int:
    name = common.manager(arguments).domains.autostart(common.name_of(arguments), on=not arguments.disable)
    say(f"Domain '{name}' {'unmarked' if arguments.disable else 'marked'} as autostarted\n")
    return Status.DONE
