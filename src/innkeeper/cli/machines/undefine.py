"""`inn undefine`: forgets a machine, and with it its disks if asked."""

import argparse
import sys

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.config import DiskDevice
from innkeeper.errors import HostError
from innkeeper.manager import Store, read_xml


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--remove-all-storage", action="store_true", help="its disks' files too; discs stay")
    parser.add_argument("--nvram", action="store_true", help="the file of its UEFI variables too")


def execute(arguments: argparse.Namespace) -> int:
    row = common.kept(arguments)
    machine = read_xml(row.xml).machine
    if common.state(row.name) == "running":
        raise HostError(f"machine {row.name} runs; end it first, with inn destroy {row.name}")
    files = []
    if arguments.remove_all_storage:
        files += [disk.path for disk in machine.disks if disk.device is DiskDevice.DISK and not disk.readonly]
    if arguments.nvram and machine.firmware is not None:
        files.append(machine.firmware.vars)
    with Store() as store:
        store.remove(row.name)
    print(f"Domain '{row.name}' has been undefined")
    failed = False
    for file in filter(None, files):
        try:
            if file.is_file():
                file.unlink()
                print(f"{file} removed")
        except OSError as error:
            failed = True
            print(f"error: cannot remove {file}: {error.strerror}", file=sys.stderr)
    return Status.MISTAKE if failed else Status.DONE
