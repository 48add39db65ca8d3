"""What the verbs of snapshots have in common."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from innkeeper.cli.machines.common import manager
from innkeeper.cli.parser import refuse
from innkeeper.cli.storage.common import follow, words
from innkeeper.errors import ConfigError

if TYPE_CHECKING:
    from innkeeper.manager.snapshots import Snapshots
    from innkeeper.manager.snapshots.service import Taken

DOMAIN = {"domain": "the machine's name or UUID"}
SNAPSHOT = {"snapshotname": "the snapshot's name"}


def snapshots(arguments: argparse.Namespace) -> Snapshots:
    return manager(arguments).snapshots


def one(parser: argparse.ArgumentParser) -> None:
    """A snapshot by its name, or the current one."""
    words(parser, DOMAIN, SNAPSHOT)
    parser.add_argument("--current", action="store_true", help="the current one")


def name_of(arguments: argparse.Namespace) -> str | None:
    """None for the current one. Raises `ConfigError` unless exactly one is said."""
    if arguments.current == (arguments.snapshotname is not None):
        raise ConfigError("a snapshot is named, or it is the --current one; say exactly one of both")
    return str(arguments.snapshotname) if arguments.snapshotname is not None else None


def taking(parser: argparse.ArgumentParser) -> None:
    """Options of the verbs that take one. What virsh has and machines here have not is refused by its name."""
    parser.add_argument("--disk-only", action="store_true", help="by overlays, which take what is written from then on")
    parser.add_argument("--no-metadata", action="store_true", help="do not keep that there is one")
    parser.add_argument("--reuse-external", action="store_true", help="the overlays are there already")
    parser.add_argument("--validate", action="store_true", help="the XML is always checked")
    parser.add_argument("--atomic", action="store_true", help="all disks or none: what is done anyway")
    parser.add_argument("--halt", action="store_true", help="shut the machine off with it")
    parser.add_argument(
        "--quiesce", action="store_true", help="the guest's agent has its file systems be complete meanwhile"
    )
    refuse(parser, {"--live": "the guest stands still while its memory is written"})


def take(arguments: argparse.Namespace, xml: str) -> Taken:
    """Takes one as the options say, and draws how far it is."""
    options = ("disk_only", "no_metadata", "reuse_external", "halt", "quiesce")
    flags = [name.replace("_", "-") for name in options if getattr(arguments, name)]
    return follow("Taking snapshot", snapshots(arguments).take(arguments.domain, xml, flags))
