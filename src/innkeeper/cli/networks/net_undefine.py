"""`inn net-undefine`: forgets a network; an active one stays until it is ended."""

import argparse

from innkeeper.cli import results
from innkeeper.cli.networks import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.network(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    done = common.networks(arguments).undefine(common.name_of(arguments))
    results.say(arguments, f"Network {done['name']} has been undefined", done)
    return Status.DONE
