"""A storage pool that is described by options: `pool-define-as` and `pool-create-as`."""

import argparse
from pathlib import Path

from innkeeper.cli.storage import common
from innkeeper.errors import ConfigError
from innkeeper.manager.storage.describe import describe_pool


def register(parser: argparse.ArgumentParser) -> None:
    required = {"name": "what the storage pool is called", "type": "dir, a folder; there are no others"}
    common.words(parser, required, {"target": "its folder"})
    parser.add_argument("--print-xml", action="store_true", help="show the storage pool's XML, and make nothing")


def document(arguments: argparse.Namespace) -> str:
    """Raises `ConfigError` for what cannot be."""
    common.fill(arguments)
    if arguments.type != "dir":
        raise ConfigError(f"pool {arguments.name} is of type {arguments.type!r}; pools here are folders, of type 'dir'")
    if arguments.target is None:
        raise ConfigError(f"pool {arguments.name} has no folder; say which it is, with --target")
    return describe_pool(arguments.name, str(Path(arguments.target).absolute()))
