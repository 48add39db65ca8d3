"""`inn pool-info`: says what a storage pool is."""

import argparse

from innkeeper.cli.status import Status
from innkeeper.cli.storage import common
from innkeeper.manager.storage.sizes import shown


def register(parser: argparse.ArgumentParser) -> None:
    common.words(parser, common.POOL)
    parser.add_argument("--bytes", action="store_true", help="sizes in bytes")


def execute(arguments: argparse.Namespace) -> int:
    info = common.pools(arguments).info(arguments.pool)
    facts = [
        ("Name", info["name"]),
        ("UUID", info["uuid"]),
        ("State", "running" if info["active"] else "inactive"),
        ("Persistent", "yes" if info["persistent"] else "no"),
        ("Autostart", "yes" if info["autostart"] else "no"),
    ]
    sizes = (("Capacity", info["capacity"]), ("Allocation", info["allocation"]), ("Available", info["available"]))
    facts += [(name, str(size) if arguments.bytes else shown(size)) for name, size in sizes if size is not None]
    common.facts(arguments, facts, info)
    return Status.DONE
