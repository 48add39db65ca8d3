"""What disks are called from outside: vda, vdb, hda, by bus."""

from collections.abc import Collection, Sequence
from string import ascii_lowercase

from innkeeper.config.disk import DiskBus, DiskConfig

PREFIXES = {DiskBus.VIRTIO: "vd", DiskBus.IDE: "hd", DiskBus.SATA: "sd"}


def nth_target(bus: DiskBus, number: int) -> str:
    """As Linux would count: vda … vdz, vdaa.

    >>> nth_target(DiskBus.VIRTIO, 26)
    'vdaa'
    """
    letters = ""
    number += 1
    while number:
        number, digit = divmod(number - 1, 26)
        letters = ascii_lowercase[digit] + letters
    return PREFIXES[bus] + letters


def free_target(bus: DiskBus, taken: Collection[str]) -> str:
    """The first name on a bus that no disk has."""
    return next(name for number in range(len(taken) + 1) if (name := nth_target(bus, number)) not in taken)


def targets(disks: Sequence[DiskConfig]) -> list[str]:
    """The name of each disk: its own, or the first that is free."""
    taken = [disk.target for disk in disks if disk.target]
    names = []
    for disk in disks:
        names.append(disk.target or free_target(disk.bus, taken))
        taken.append(names[-1])
    return names
