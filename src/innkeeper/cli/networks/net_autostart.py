"""`inn net-autostart`: marks a network to start with the manager, or takes the mark away."""

import argparse

from innkeeper.cli.networks import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser)
    parser.add_argument("--disable", action="store_true", help="no longer")


def execute(arguments: argparse.Namespace) -> int:
    done = common.networks(arguments).set_autostart(common.name_of(arguments), on=not arguments.disable)
    say(f"Network {done['name']} {'un' if arguments.disable else ''}marked as autostarted\n")
    return Status.DONE
