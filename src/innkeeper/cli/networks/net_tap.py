"""`inn net-tap`: tap interfaces on a bridge, which a user's machines take without root."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.networks import common
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError

COUNT = 8


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser, "the network's name or UUID, or any bridge's name")
    common.owner(parser)
    parser.add_argument("--count", type=int, default=COUNT, metavar="N", help="cards at once (default: %(default)s)")
    parser.add_argument("--remove", action="store_true", help="remove them; without --user everybody's")
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    networks, name = common.networks(arguments), common.name_of(arguments)
    if arguments.remove:
        gone = networks.remove_taps(name, arguments.user)
        results.say(arguments, f"{len(gone)} taps removed from {name}", {"removed": gone})
        return Status.DONE
    user = common.user_of(arguments)
    if user is None:
        raise ConfigError("no user is named; say whose machines may join, with --user")
    there = networks.add_taps(name, user, arguments.count)
    results.say(arguments, f"{len(there)} machines' cards of {user} can join {name}", {"taps": there})
    return Status.DONE
