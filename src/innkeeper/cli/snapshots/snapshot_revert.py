"""`inn snapshot-revert`: makes a machine and its disks what they were."""

import argparse

from innkeeper.cli.machines.common import manager
from innkeeper.cli.snapshots import common
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import say
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    common.one(parser)
    started = parser.add_mutually_exclusive_group().add_argument
    started("--running", action="store_true", help="start the machine then")
    started("--paused", action="store_true", help="the same, and it stands still until inn resume lets it go on")
    parser.add_argument("--force", action="store_true", help="although it may not fit: there is nothing that could not")
    parser.add_argument(
        "--reset-nvram", action="store_true", help="its UEFI variables are its firmware's again when it starts"
    )


def execute(arguments: argparse.Namespace) -> int:
    name = common.name_of(arguments)
    starts = arguments.running or arguments.paused
    if arguments.reset_nvram and not starts:
        raise ConfigError("--reset-nvram is for a machine that is started; add --running or --paused")
    reached = manager(arguments)
    name = reached.snapshots.revert(arguments.domain, name)
    if starts:
        reached.domains.start(arguments.domain, paused=arguments.paused, reset_nvram=arguments.reset_nvram)
    say(arguments, f"Domain snapshot {name} reverted", {"name": name})
    return Status.DONE
