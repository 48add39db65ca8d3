"""`inn net-destroy`: ends a network and takes away all that was made for it."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.networks import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    done = common.networks(arguments).destroy(common.name_of(arguments))
    common.tell(done["unknown"], done["notes"])
    results.say(arguments, f"Network {done['name']} destroyed", done)
    return Status.DONE
