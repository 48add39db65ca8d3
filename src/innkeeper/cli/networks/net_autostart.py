"""`inn net-autostart`: marks a network to start with the manager, or takes the mark away."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.networks import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser)
    parser.add_argument("--disable", action="store_true", help="no longer")
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    done = common.networks(arguments).set_autostart(common.name_of(arguments), on=not arguments.disable)
    results.say(
        arguments,
        f"Network {done['name']} {'un' if arguments.disable else ''}marked as autostarted",
        {"name": done["name"], "autostart": not arguments.disable},
    )
    return Status.DONE
