"""`inn snapshot-revert`: makes a machine and its disks what they were."""

import argparse

from innkeeper.cli.machines.common import manager
from innkeeper.cli.snapshots import common
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import say
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    common.one(parser)
    parser.add_argument("--running", action="store_true", help="start the machine then")
    parser.add_argument("--force", action="store_true", help="although it may not fit: there is nothing that could not")
    for option in ("--paused", "--reset-nvram"):
        parser.add_argument(option, action="store_true", help=argparse.SUPPRESS)


def execute(arguments: argparse.Namespace) -> int:
    name = common.name_of(arguments)
    if arguments.paused or arguments.reset_nvram:
        option = "--paused" if arguments.paused else "--reset-nvram"
        raise ConfigError(f"{option} cannot be done here; leave it out")
    reached = manager(arguments)
    name = reached.snapshots.revert(arguments.domain, name)
    if arguments.running:
        reached.domains.start(arguments.domain)
    say(arguments, f"Domain snapshot {name} reverted", {"name": name})
    return Status.DONE
