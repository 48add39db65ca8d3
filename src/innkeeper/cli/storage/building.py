"""What `pool-build`, and all that can build on the way, have in common."""

import argparse

from innkeeper.errors import ConfigError


def overwriting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--no-overwrite", action="store_true", help=argparse.SUPPRESS)


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--build", action="store_true", help="make its folder first")
    overwriting(parser)


def check(arguments: argparse.Namespace) -> None:
    """Raises `ConfigError` for what only pools of other types have."""
    if arguments.overwrite or arguments.no_overwrite:
        option = "--overwrite" if arguments.overwrite else "--no-overwrite"
        raise ConfigError(
            f"{option} is for pools that make a file system; a pool of type dir is a folder: leave it out"
        )
