"""`inn domblkinfo`: how large a machine's disks are, and what they take of the host's."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError
from innkeeper.manager.storage.sizes import shown

HEADS = ("Capacity", "Allocation", "Physical")


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "device", "its target, as in vda, or its file", required=False)
    parser.add_argument("--all", action="store_true", help="all disks")
    parser.add_argument("--human", action="store_true", help="sizes in units for people")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    wanted = None if arguments.all else arguments.device
    reached, name = common.manager(arguments), common.name_of(arguments)
    disks = [disk for disk in reached.hardware.disks(name, inactive=False) if disk["source"]]
    found = [disk for disk in disks if arguments.all or wanted in (disk["target"], disk["source"])]
    if not found and not arguments.all:
        known = ", ".join(disk["target"] for disk in disks) or "none at all"
        raise ConfigError(
            f"machine {name} has no disk {wanted or 'that is named'}; it has {known}, and --all shows all"
        )
    sizes = {}
    for disk in found:
        image = reached.volumes.image(str(disk["source"]))
        sizes[disk["target"]] = {
            "capacity": image["capacity"],
            "allocation": image["allocation"],
            "physical": image["physical"],
        }
    rows = [
        [target, *(shown(size, digits=3) if arguments.human else str(size) for size in each.values())]
        for target, each in sizes.items()
    ]
    if arguments.json:
        common.show_json(sizes)
    elif arguments.all:
        print(common.table(("Target", *HEADS), rows))
    else:
        common.show_facts(arguments, dict(zip(HEADS, rows[0][1:], strict=True)))
    return Status.DONE
