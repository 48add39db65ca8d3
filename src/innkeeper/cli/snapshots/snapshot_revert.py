"""`inn snapshot-revert`: makes a machine, its disks and its memory what they were."""

import argparse

from innkeeper.cli.snapshots import common
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import say
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    common.one(parser)
    started = parser.add_mutually_exclusive_group().add_argument
    started("--running", action="store_true", help="let the machine run then, whatever it did")
    started("--paused", action="store_true", help="have it stand still then, until inn resume lets it go on")
    parser.add_argument("--force", action="store_true", help="although it may not fit: there is nothing that could not")
    parser.add_argument(
        "--reset-nvram", action="store_true", help="its UEFI variables are its firmware's again when it starts"
    )


def execute(arguments: argparse.Namespace) -> int:
    name = common.name_of(arguments)
    begin = "running" if arguments.running else "paused" if arguments.paused else None
    if arguments.reset_nvram and begin is None:
        raise ConfigError("--reset-nvram is for a machine that is started; add --running or --paused")
    name = common.snapshots(arguments).revert(arguments.domain, name, begin=begin, reset_nvram=arguments.reset_nvram)
    say(arguments, f"Domain snapshot {name} reverted", {"name": name})
    return Status.DONE
