"""`inn undefine`: forgets a machine, and with it its disks if asked."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import complain, say


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--remove-all-storage", action="store_true", help="its disks' files too; discs stay")
    parser.add_argument(
        "--snapshots-metadata", action="store_true", help="although it has snapshots, which are forgotten"
    )
    parser.add_argument("--managed-save", action="store_true", help="what it was doing when it was saved too")
    parser.add_argument("--nvram", action="store_true", help="the file of its UEFI variables too")


def execute(arguments: argparse.Namespace) -> int:
    gone = common.manager(arguments).domains.undefine(
        common.name_of(arguments),
        storage=arguments.remove_all_storage,
        nvram=arguments.nvram,
        snapshots_metadata=arguments.snapshots_metadata,
        managed_save=arguments.managed_save,
    )
    say(f"Domain '{gone['name']}' has been undefined")
    for file in gone["removed"]:
        say(f"{file} removed")
    for file, reason in gone["failed"].items():
        complain(f"cannot remove {file}: {reason}")
    return Status.MISTAKE if gone["failed"] else Status.DONE
