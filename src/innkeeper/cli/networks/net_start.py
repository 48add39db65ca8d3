"""`inn net-start`: starts a network, or makes one that is active whole again."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.networks import common
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser)
    common.owner(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    networks, name, user = common.networks(arguments), common.name_of(arguments), common.user_of(arguments)
    try:
        done = networks.start(name, user)
    except ConfigError:
        document = common.kept_by_who_ran_sudo(name)
        if document is None:
            raise
        done = networks.create(document, user)
    common.tell(done["unknown"], done["notes"])
    results.say(arguments, f"Network {done['name']} started", done)
    return Status.DONE
