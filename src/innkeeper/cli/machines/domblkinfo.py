"""`inn domblkinfo`: how large a machine's disks are, and what they take of the host's."""

import argparse

from innkeeper.cli.machines import changing, common
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError

KEYS = ("capacity", "allocation", "physical")


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    changing.operand(parser, "device", "its target, as in vda, or its file")
    parser.add_argument("--all", action="store_true", help="all disks")
    parser.add_argument("--human", action="store_true", help="sizes in units for people")
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    wanted = None if arguments.all else changing.maybe(arguments, "device")
    reached, name = common.manager(arguments), common.name_of(arguments)
    disks = [disk for disk in reached.hardware.disks(name, inactive=False) if disk["source"]]
    found = [disk for disk in disks if arguments.all or wanted in (disk["target"], disk["source"])]
    if not found and not arguments.all:
        known = ", ".join(disk["target"] for disk in disks) or "none at all"
        raise ConfigError(
            f"machine {name} has no disk {wanted or 'that is named'}; it has {known}, and --all shows all"
        )
    sizes = {disk["target"]: reached.volumes.image(str(disk["source"])) for disk in found}
    rows = [[target, *(shown(each[key], human=arguments.human) for key in KEYS)] for target, each in sizes.items()]  # type: ignore[literal-required] # three of its keys
    if arguments.json:
        common.show_json({target: {key: each[key] for key in KEYS} for target, each in sizes.items()})  # type: ignore[literal-required] # as above
    elif arguments.all:
        print(common.table(("Target", "Capacity", "Allocation", "Physical"), rows))
    else:
        common.show_facts(arguments, dict(zip(("Capacity", "Allocation", "Physical"), rows[0][1:], strict=True)))
    return Status.DONE


def shown(size: int, *, human: bool) -> str:
    """A size in bytes, or in its largest unit.

    >>> shown(1 << 30, human=True)
    '1.000 GiB'
    """
    power = min(max(size.bit_length() - 1, 0) // 10, 6) if human else 0
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    return f"{size / 1024**power:.3f} {units[power]}" if human else str(size)
