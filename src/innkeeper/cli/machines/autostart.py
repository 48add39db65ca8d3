"""`inn autostart`: whether a machine starts with the manager."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.machines import common
from innkeeper.cli.parser import refuse
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--disable", action="store_true", help="no longer")
    refuse(parser, {"--once": "a machine is started each time that the host has started, or never"})
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    name = common.manager(arguments).domains.autostart(common.name_of(arguments), on=not arguments.disable)
    results.say(
        arguments,
        f"Domain '{name}' {'unmarked' if arguments.disable else 'marked'} as autostarted",
        {"name": name, "autostart": not arguments.disable},
    )
    return Status.DONE
