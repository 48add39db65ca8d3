"""`inn snapshot-info`: says what a snapshot is."""

import argparse

from innkeeper.cli.snapshots import common
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import facts


def register(parser: argparse.ArgumentParser) -> None:
    common.one(parser)


def execute(arguments: argparse.Namespace) -> int:
    name = common.name_of(arguments)
    info = common.snapshots(arguments).info(arguments.domain, name)
    rows = [
        ("Name", info["name"]),
        ("Domain", info["domain"]),
        ("Current", "yes" if info["current"] else "no"),
        ("State", info["state"]),
        ("Location", info["location"]),
        ("Parent", info["parent"] or "-"),
        ("Children", str(info["children"])),
        ("Descendants", str(info["descendants"])),
        ("Metadata", "yes"),
    ]
    facts(arguments, rows, info)
    return Status.DONE
