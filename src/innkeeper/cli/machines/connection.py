"""libvirt's `--connect URI`: there is nothing to connect to but this user's own machines."""

import argparse

from innkeeper.errors import ConfigError

OWN = ("qemu:///session", "qemu:///system", "innkeeper:///session")


def register(parser: argparse.ArgumentParser, *names: str) -> None:
    parser.add_argument(
        *names, "--connect", metavar="URI", help="this user's machines, whatever it says: qemu:///session"
    )


def check(arguments: argparse.Namespace) -> None:
    """Raises `ConfigError` for somebody else's."""
    if arguments.connect is not None and arguments.connect not in OWN:
        raise ConfigError(f"connect is {arguments.connect!r}; machines are this user's own: {', '.join(OWN)}")
