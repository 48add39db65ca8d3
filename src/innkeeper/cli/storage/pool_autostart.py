"""`inn pool-autostart`: starts a storage pool with the host, or no longer."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.POOL)
    parser.add_argument("--disable", action="store_true", help="no longer")


def execute(arguments: argparse.Namespace) -> int:
    done = "Pool {} unmarked as autostarted" if arguments.disable else "Pool {} marked as autostarted"
    common.act(arguments, lambda pools: pools.set_autostart(arguments.pool, on=not arguments.disable), done)
    return Status.DONE
