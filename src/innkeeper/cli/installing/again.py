"""`--reinstall MACHINE`: what installs once more on a machine that is kept, which stays what it is."""

import argparse
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

from innkeeper.cli.installing.steps import Start
from innkeeper.config import DiskConfig, DiskDevice, MachineConfig
from innkeeper.config.targets import targets
from innkeeper.errors import ConfigError
from innkeeper.manager.device_xml import write_disk
from innkeeper.manager.elements import parse

OWN = (
    *(
        "--name",
        "--title",
        "--description",
        "--uuid",
        "--metadata",
        "--memory",
        "--vcpus",
        "--cpu",
        "--features",
        "--clock",
    ),
    *(
        "--disk",
        "--nodisks",
        "--network",
        "--nonetworks",
        "--graphics",
        "--vnc",
        "--vncport",
        "--vnclisten",
        "--nographics",
    ),
    *("--video", "--filesystem", "--serial", "--console", "--input", "--rng", "--memballoon", "--vsock", "--events"),
    *("--boot", "--virt-type", "--autostart", "--transient", "--import", "--live"),
)
"""Options that say what a machine is: one that is installed again is that already."""
DESTINATIONS = {"--import": "imports"}


def refuse_others(arguments: argparse.Namespace, defaults: argparse.Namespace) -> None:
    """Raises `ConfigError` for options that would be ignored."""
    for option in OWN:
        name = DESTINATIONS.get(option, option.removeprefix("--").replace("-", "_"))
        if getattr(arguments, name) != getattr(defaults, name):
            raise ConfigError(f"{option} is given with --reinstall, which leaves the machine as it is; leave it out")


def start_of(machine: MachineConfig) -> Start:
    """How it starts as it is kept."""
    return Start(
        kernel=machine.kernel,
        initrd=machine.initrd,
        append=machine.append,
        firmware=machine.firmware,
        boot=machine.boot,
    )


def with_disc(machine: MachineConfig, disc: Path) -> MachineConfig:
    """The disc in the machine's first CD-ROM drive; in one more if it has none."""
    disks = list(machine.disks)
    for at, disk in enumerate(disks):
        if disk.device is DiskDevice.CDROM:
            disks[at] = replace(disk, path=disc)
            return replace(machine, disks=tuple(disks))
    return replace(machine, disks=(*disks, DiskConfig.cdrom(disc)))


def with_drive(xml: str, machine: MachineConfig) -> str:
    """The machine's document, with an empty CD-ROM drive more if it has none."""
    if any(disk.device is DiskDevice.CDROM for disk in machine.disks):
        return xml
    root = parse(xml, "the domain")
    devices = root.find("devices")
    devices = ET.SubElement(root, "devices") if devices is None else devices
    drive = replace(DiskConfig.cdrom(Path("empty")), path=None)
    devices.append(write_disk(drive, targets((*machine.disks, drive))[-1]))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
