"""A storage pool that is described by options: `pool-define-as` and `pool-create-as`."""

import argparse
from pathlib import Path

from innkeeper.cli.machines.common import as_json
from innkeeper.cli.parser import operand, refuse
from innkeeper.errors import ConfigError
from innkeeper.manager.storage.describe import describe_pool

FOLDERS = "a pool is a folder of this host; mount what is elsewhere, and give its place as --target"
SOURCES = ("source-host", "source-path", "source-dev", "source-name")
"""Words before the folder in virsh's order; `-` stands for each of them in a pool of type dir."""
REFUSED = dict.fromkeys(
    (
        "--source-format FORMAT", "--source-initiator NAME", "--source-protocol-ver VERSION", "--auth-type TYPE", "--auth-username NAME",
        "--secret-usage NAME", "--secret-uuid UUID", "--adapter-name NAME", "--adapter-wwnn NAME", "--adapter-wwpn NAME",
        "--adapter-parent NAME", "--adapter-parent-wwnn NAME", "--adapter-parent-wwpn NAME", "--adapter-parent-fabric-wwn NAME",
    ),
    FOLDERS,
)  # fmt: skip


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "name", "what the storage pool is called")
    operand(parser, "type", "dir, a folder; there are no others")
    for name in SOURCES:
        operand(parser, name, "- for a folder", required=False)
    operand(parser, "target", "its folder", required=False)
    parser.add_argument("--print-xml", action="store_true", help="show the storage pool's XML, and make nothing")
    refuse(parser, REFUSED)
    as_json(parser)


def document(arguments: argparse.Namespace) -> str:
    """Raises `ConfigError` for what cannot be."""
    if arguments.type != "dir":
        raise ConfigError(f"pool {arguments.name} is of type {arguments.type!r}; pools here are folders, of type 'dir'")
    for name in SOURCES:
        given = getattr(arguments, name.replace("-", "_"))
        if given not in (None, "-"):
            raise ConfigError(f"--{name} cannot be had here: {FOLDERS}")
    if arguments.target is None:
        raise ConfigError(f"pool {arguments.name} has no folder; say which it is, with --target")
    return describe_pool(arguments.name, str(Path(arguments.target).absolute()))
