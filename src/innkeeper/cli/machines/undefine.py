"""`inn undefine`: forgets a machine, and with it its disks if asked. One that runs goes on, without being kept."""

import argparse
import sys

from innkeeper.cli import results
from innkeeper.cli.machines import common
from innkeeper.cli.parser import refuse
from innkeeper.cli.status import Status
from innkeeper.cli.words import complain, say
from innkeeper.errors import ConfigError

REFUSED = {
    "--wipe-storage": "wipe the volumes first, with inn vol-wipe",
}


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    add = parser.add_argument
    add("--remove-all-storage", action="store_true", help="its disks' files too; discs stay")
    add("--storage", metavar="DISKS", help="the files of these disks: targets or paths, separated by commas")
    add(
        "--delete-storage-volume-snapshots",
        action="store_true",
        help="those within the files, which go with them anyway",
    )
    add("--snapshots-metadata", action="store_true", help="although it has snapshots, which are forgotten")
    add("--checkpoints-metadata", action="store_true", help="although it has checkpoints, which no machine here has")
    add("--managed-save", action="store_true", help="what it was doing when it was saved too")
    nvram = parser.add_mutually_exclusive_group()
    nvram.add_argument("--nvram", action="store_true", help="the file of its UEFI variables too")
    nvram.add_argument("--keep-nvram", action="store_true", help="without it, as is done anyway")
    tpm = parser.add_mutually_exclusive_group()
    tpm.add_argument("--tpm", action="store_true", help="what its TPM holds too: no machine here has one")
    tpm.add_argument("--keep-tpm", action="store_true", help="without that")
    refuse(parser, REFUSED)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    if arguments.storage is not None and arguments.remove_all_storage:
        raise ConfigError("--storage and --remove-all-storage are both given; the one names disks, the other means all")
    gone = common.manager(arguments).domains.undefine(
        common.name_of(arguments),
        storage=arguments.remove_all_storage,
        disks=[] if arguments.storage is None else arguments.storage.split(","),
        nvram=arguments.nvram,
        snapshots_metadata=arguments.snapshots_metadata,
        managed_save=arguments.managed_save,
    )
    if arguments.json:
        results.show_json(gone)
    else:
        say(f"Domain '{gone['name']}' has been undefined")
    if gone["runs"]:
        say(f"machine {gone['name']} runs on, and is forgotten when it ends", file=sys.stderr)
    for file in gone["removed"] if not arguments.json else ():
        say(f"{file} removed")
    for file, reason in gone["failed"].items():
        complain(f"cannot remove {file}: {reason}")
    return Status.MISTAKE if gone["failed"] else Status.DONE
