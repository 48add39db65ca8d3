"""`inn snapshot-current`: shows a machine's current snapshot, or makes another one that."""

import argparse

from innkeeper.cli import xml_output
from innkeeper.cli.snapshots import common
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import put, say, words


def register(parser: argparse.ArgumentParser) -> None:
    words(parser, common.DOMAIN, {"snapshotname": "make this one the current one; the machine stays as it is"})
    parser.add_argument("--name", action="store_true", help="only its name")
    parser.add_argument("--security-info", action="store_true", help="with passwords")


def execute(arguments: argparse.Namespace) -> int:
    snapshots = common.snapshots(arguments)
    if arguments.snapshotname is not None:
        name = snapshots.set_current(arguments.domain, arguments.snapshotname)
        say(arguments, f"Snapshot {name} set as current", {"name": name})
    elif arguments.name:
        name = snapshots.info(arguments.domain)["name"]
        put(arguments, name, {"name": name})
    else:
        xml = snapshots.xml(arguments.domain).rstrip("\n")
        xml = xml if arguments.security_info else xml_output.without_secrets(xml)
        put(arguments, xml, {"xml": xml})
    return Status.DONE
