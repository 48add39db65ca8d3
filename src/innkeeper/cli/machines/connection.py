"""libvirt's `--connect URI` and our own `--system`: whose machines a command is about."""

import argparse

from innkeeper.errors import ConfigError

SESSION = ("qemu:///session", "innkeeper:///session")
SYSTEM = ("qemu:///system", "innkeeper:///system")


def register(parser: argparse.ArgumentParser, *names: str) -> None:
    """`--system` may be given before the verb; both mean the same."""
    parser.add_argument(*names, "--connect", metavar="URI", help="whose machines: qemu:///session or qemu:///system")


def check(arguments: argparse.Namespace) -> None:
    """Sets `arguments.system`. Raises `ConfigError` for what is no connection of ours."""
    if arguments.connect is not None:
        arguments.system = is_system(arguments.connect)


def is_system(uri: str) -> bool:
    """Whether it means the host's machines. Raises `ConfigError` for what is no connection of ours."""
    if uri not in SESSION + SYSTEM:
        raise ConfigError(f"connect is {uri!r}; it must be one of {', '.join(SESSION + SYSTEM)}")
    return uri in SYSTEM
