"""`inn event`: waits for what happens to machines, and says it."""

import argparse

from innkeeper.cli import events
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError

KINDS = {"lifecycle": "lifecycle"}


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser, required=False)
    events.options(parser, KINDS)
    parser.add_argument("--all", action="store_true", help="whatever it is")


def execute(arguments: argparse.Namespace) -> int:
    if events.listed(arguments, KINDS):
        return Status.DONE
    if arguments.event is None and not arguments.all:
        raise ConfigError("nothing says what to wait for; give --event KIND, or --all")
    manager, wanted = common.manager(arguments), arguments.domain
    if wanted is not None:
        manager.domains.state(wanted)  # there is such a machine
    return events.execute(arguments, manager, KINDS, "domain", wanted)
