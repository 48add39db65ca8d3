"""What a machine must have in common with one that was saved, to go on as that: devices in their slots, disks as they were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from innkeeper import __version__
from innkeeper.config import DiskDevice, MachineConfig
from innkeeper.errors import ConfigError, HostError
from innkeeper.machine.backplane import FIXED, SLOTS, Layout
from innkeeper.machine.builder import Assembly, Parts
from innkeeper.machine.drives import Drive
from innkeeper.machine.figures import image_of
from innkeeper.machine.state_file import SavedMachine
from innkeeper.machine.virtio import VirtioDisk
from innkeeper.platforms.pc_slots import FIRST_FREE


def describe(config: MachineConfig, parts: Parts, assembly: Assembly) -> dict[str, Any]:
    """What a machine must have in common with a saved one."""
    from innkeeper import _core

    return {
        "innkeeper": __version__,
        "engine": parts.choice.engine.name,
        "memory_mib": config.memory_mib,
        "vcpus": config.possible_vcpus,
        "devices": {name: type(device).__name__ for name, device in assembly.board.devices_by_name().items()},
        "slots": parts.peripherals.backplane.layout(),
        "features": sorted(name for name, there in _core.host_features().items() if there),
        "disks": _disks(parts),
    }


def settle_disks(parts: Parts) -> None:
    """Their files are as they will be when the machine has ended, if nothing is written until then. Raises `OSError`."""
    for disk in _written(parts):
        image_of(disk).settle()


def _disks(parts: Parts) -> list[list[str | int]]:
    """The files of those that are written to, as they are now: a disk may have moved onto an overlay."""
    return [_disk(disk.config.path) for disk in _written(parts) if disk.config.path is not None]


def _written(parts: Parts) -> list[VirtioDisk | Drive]:
    disks: list[VirtioDisk | Drive] = list(parts.peripherals.drives)
    disks += [item for item in parts.peripherals.backplane.contents() if isinstance(item, VirtioDisk)]
    return [disk for disk in disks if disk.config.device is DiskDevice.DISK and not disk.config.readonly]


def _disk(path: Path) -> list[str | int]:
    status = path.stat()
    return [str(path), status.st_size, status.st_mtime_ns]


def check_same(saved: SavedMachine, here: Mapping[str, Any]) -> None:
    """Raises `ConfigError` that says what is not the same."""
    there = saved.head
    for name, what in (("memory_mib", "MiB of memory"), ("vcpus", "vCPUs")):
        if there.get(name) != here[name]:
            raise ConfigError(f"the machine in {saved.path} has {there.get(name)} {what}; this one has {here[name]}")
    if (layout := layout_of(saved)) is not None:
        _check_devices(saved, by_slot(layout), by_slot(here["slots"]))
    _check_devices(saved, there.get("devices"), here["devices"])
    features = there.get("features")
    if not isinstance(features, list):
        raise saved.damaged("it names no features of its processor")
    if lacking := sorted(set(map(str, features)) - set(here["features"])):
        raise HostError(f"the machine in {saved.path} uses {', '.join(lacking)}, which this host's processor lacks")


def check_disks(saved: SavedMachine, here: Mapping[str, Any], *, relocated: bool) -> None:
    """Disks that were `relocated` are what their user says they are."""
    there = saved.head.get("disks")
    if not isinstance(there, list):
        raise saved.damaged("it names no disks")
    for before, now in zip(there, here["disks"], strict=False):
        elsewhere = relocated and isinstance(before, list) and before[:1] != now[:1]
        if before != now and not elsewhere:
            raise ConfigError(
                f"disk {now[0]} has changed since the machine was saved to {saved.path}; its guest would damage it"
            )
    if len(there) != len(here["disks"]):
        raise ConfigError(f"the machine in {saved.path} has other disks")


def _check_devices(saved: SavedMachine, there: object, here: Mapping[str, str]) -> None:
    """By their places. Raises `InnkeeperError` that names those which are not the same."""
    if not isinstance(there, dict):
        raise saved.damaged("it names no devices")
    names = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
    if names:
        differences = ", ".join(
            f"{name} is {there.get(name, 'not there')}, not {here.get(name, 'there')}" for name in names
        )
        raise ConfigError(f"the machine in {saved.path} has other devices: {differences}")


def layout_of(saved: SavedMachine) -> Layout | None:
    """What was in which slot. None if the file does not say: it was all in the order of the configuration. Raises `ImageError`."""
    found = saved.head.get("slots")
    if found is None:
        return None
    if not isinstance(found, list) or len(found) > SLOTS or not all(isinstance(name, str | None) for name in found):
        raise saved.damaged("it does not say what is in its slots")
    return found


def by_slot(layout: Layout) -> dict[str, str]:
    """Those with names of their own, by the slots' numbers on PCI bus 0.

    >>> by_slot(["fixed", None, "disk vda"])
    {'slot 4': 'disk vda'}
    """
    return {f"slot {FIRST_FREE + index}": name for index, name in enumerate(layout) if name and name != FIXED}
