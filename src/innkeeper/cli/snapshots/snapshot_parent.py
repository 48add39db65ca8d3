"""`inn snapshot-parent`: says which snapshot a snapshot was taken after."""

import argparse

from innkeeper.cli.snapshots import common
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import put
from innkeeper.errors import ConfigError


def register(parser: argparse.ArgumentParser) -> None:
    common.one(parser)


def execute(arguments: argparse.Namespace) -> int:
    name = common.name_of(arguments)
    info = common.snapshots(arguments).info(arguments.domain, name)
    if info["parent"] is None and not arguments.json:
        raise ConfigError(f"snapshot {info['name']} of machine {info['domain']} has no parent")
    put(arguments, str(info["parent"]), {"parent": info["parent"]})
    return Status.DONE
