"""`inn vol-info`: says what a volume is."""

import argparse
import sys

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common
from innkeeper.cli.words import say
from innkeeper.manager.storage.sizes import shown


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.VOLUME)
    common.in_pool(parser)
    parser.add_argument("--bytes", action="store_true", help="sizes in bytes")
    parser.add_argument(
        "--physical", action="store_true", help="the size of its file instead of the space that it takes"
    )


def execute(arguments: argparse.Namespace) -> int:
    info = common.volumes(arguments).info(common.absolute(arguments.vol, arguments.pool), arguments.pool)
    second = ("Physical", info["physical"]) if arguments.physical else ("Allocation", info["allocation"])
    facts = [("Name", info["name"]), ("Type", info["type"])]
    for name, size in (("Capacity", info["capacity"]), second):
        facts.append((name, f"{size} bytes" if arguments.bytes else shown(size)))
    common.facts(arguments, facts, info)
    if "error" in info:
        say(f"its format cannot be read: {info['error']}", file=sys.stderr)
    return Status.DONE
