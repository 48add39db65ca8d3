"""`inn vol-resize`: gives a volume's disk another size."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common
from innkeeper.errors import ConfigError
from innkeeper.manager.storage.sizes import scaled


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.VOLUME | {"capacity": "the new size: bytes, or with a suffix as in 20G"})
    common.in_pool(parser)
    parser.add_argument("--allocate", action="store_true", help="take all of the space that is added at once")
    parser.add_argument("--delta", action="store_true", help="so much more than now; with --shrink, so much less")
    parser.add_argument("--shrink", action="store_true", help="lose what lies beyond a smaller size")


def execute(arguments: argparse.Namespace) -> int:
    volumes, vol = common.volumes(arguments), common.absolute(arguments.vol, arguments.pool)
    work = volumes.resize(
        vol,
        capacity(arguments, volumes.info(vol, arguments.pool)["capacity"]),
        arguments.pool,
        shrink=arguments.shrink,
        allocate=arguments.allocate,
    )
    found = common.follow(f"Resizing {arguments.vol}", work)
    how = "by" if arguments.delta else "to"
    common.say(arguments, f"Size of volume '{found['name']}' successfully changed {how} {arguments.capacity}", found)
    return Status.DONE


def capacity(arguments: argparse.Namespace, now: int) -> int:
    """Raises `ConfigError` for one that cannot be."""
    amount = scaled(arguments.capacity, "capacity")
    if amount < 0 and not arguments.shrink:
        raise ConfigError(f"capacity is {arguments.capacity}; it cannot be negative without --shrink")
    sign = -1 if arguments.shrink else 1
    wanted = now + sign * abs(amount) if arguments.delta else abs(amount)
    if wanted < 0:
        raise ConfigError(f"volume {arguments.vol} has {now} bytes, and {abs(amount)} less cannot be")
    return wanted
