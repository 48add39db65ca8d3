"""`inn image snapshot`: the internal snapshots of a qcow2 image."""

import argparse
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from innkeeper.cli.images import common
from innkeeper.cli.status import Status
from innkeeper.storage import apply_snapshot, create_snapshot, delete_snapshot, describe_size, snapshots

if TYPE_CHECKING:
    from innkeeper._core import ImageSnapshot


def register(parser: argparse.ArgumentParser) -> None:
    parser.description = "List, make, go back to or forget the snapshots within a qcow2 image"
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument("-l", dest="list", action="store_true", help="list them (the default)")
    actions.add_argument("-c", dest="create", metavar="NAME", help="keep the disk as it is now")
    actions.add_argument("-a", dest="apply", metavar="NAME", help="make the disk what it was; what it is now is lost")
    actions.add_argument("-d", dest="delete", metavar="NAME", help="forget it and give its space back")
    parser.epilog = "NAME may also be the snapshot's ID, except for -c"
    common.share(parser)
    common.quiet(parser)
    common.image(parser)


def execute(arguments: argparse.Namespace) -> int:
    if arguments.create is not None:
        create_snapshot(arguments.image, arguments.create)
    elif arguments.apply is not None:
        apply_snapshot(arguments.image, arguments.apply)
    elif arguments.delete is not None:
        delete_snapshot(arguments.image, arguments.delete)
    elif found := snapshots(arguments.image, share=arguments.share):
        print("\n".join(["Snapshot list:", *table(found)]))
    return Status.DONE


def table(found: Sequence["ImageSnapshot"]) -> Iterator[str]:
    yield f"{'ID':10}{'TAG':17}{'VM SIZE':>8}{'DATE':>20}{'VM CLOCK':>13}{'ICOUNT':>11}"
    for each in found:
        date = datetime.fromtimestamp(each["date-sec"], UTC).astimezone()
        seconds = each["vm-clock-sec"]
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{each['vm-clock-nsec'] // 10**6:03}"
        size = describe_size(each["vm-state-size"])
        begin = f"{each['id']:9} {each['name']:16} {size:>8}"
        yield f"{begin} {date:%Y-%m-%d %H:%M:%S} {clock:>12} {each.get('icount', ''):>10}"
