"""`inn virt-install …`: makes a machine and starts it from an installer, with the options of the tool of that name.

Spec: virt-install(1). An option that is not here is an error.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.cli.machines import common, connection, console
from innkeeper.cli.progress import ProgressBar
from innkeeper.cli.status import Status
from innkeeper.config import DiskConfig, GraphicsConfig, MachineConfig
from innkeeper.config.firmware import BootConfig, BootDevice, FirmwareConfig, FirmwareKind
from innkeeper.config.graphics import GraphicsKind
from innkeeper.config.network import NetworkConfig, NetworkKind
from innkeeper.errors import ConfigError
from innkeeper.manager import Definition, write_xml
from innkeeper.manager.definition import Action
from innkeeper.manager.domain_xml import ENGINES, read_uuid
from innkeeper.manager.install import Disks
from innkeeper.manager.normal import normalised

if TYPE_CHECKING:
    from innkeeper.manager.service import Manager

MEMORY_MIB = 1024


def register(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-n", "--name", required=True, help="what the machine is called")
    add(
        "--memory",
        "--ram",
        "-r",
        dest="memory",
        type=int,
        default=MEMORY_MIB,
        metavar="MIB",
        help="(default: %(default)s)",
    )
    add("--vcpus", default="1", metavar="N", help="virtual processors (default: %(default)s)")
    add("--virt-type", default="auto", choices=ENGINES, help="what runs it: auto takes the fastest that can (default)")
    add("--os-variant", "--osinfo", metavar="NAME", help="what will be installed; no device depends on it")
    add("--cdrom", "-c", type=Path, metavar="ISO", help="the installer's disc")
    add("--import", dest="imports", action="store_true", help="no installation: start from the first disk")
    add("--boot", default="", metavar="hd,cdrom,uefi,kernel=…,initrd=…,kernel_args=…", help="how it starts")
    add("--disk", action="append", default=[], metavar="path=…,size=…", help="a disk; none for a machine without")
    add("--network", "-w", action="append", default=[], metavar="bridge=…|user", help="a network card (default: user)")
    add("--graphics", action="append", default=[], metavar="vnc,…|none", help="who may see the screen (default: vnc)")
    add("--title", default="", help="one line about the machine")
    add("--description", default="", help="more lines about it")
    add("--uuid", help="by default one is made up")
    add("--hvm", "-v", action="store_true", help="full virtualization: what every machine here has")
    add("--noautoconsole", action="store_true", help="do not connect to the serial console")
    add("--noreboot", action="store_true", help="leave the machine off when the installer has ended")
    add("--autostart", action="store_true", help="start it with the manager")
    add("--dry-run", action="store_true", help="make nothing")
    add("--print-xml", action="store_true", help="show the machine's XML, and make nothing")
    connection.register(parser)


def execute(arguments: argparse.Namespace) -> int:
    connection.check(arguments)
    disks = Disks(wanted_disks(arguments))
    definition = define(arguments, disks.resolved())
    xml = document(definition)
    if arguments.print_xml or arguments.dry_run:
        print(xml if arguments.print_xml else f"Domain '{definition.name}' could be made", end="")
        return Status.DONE
    manager = common.manager(arguments)
    if any(each["name"] == definition.name for each in manager.domains.all()):
        raise ConfigError(
            f"a machine named {definition.name} exists already; inn undefine {definition.name} forgets it"
        )
    try:
        make(manager, arguments, definition, disks, xml)
    except BaseException:
        undo(manager, definition.name, disks)
        raise
    print("Domain creation completed." if arguments.imports else "Domain installation started.", file=sys.stderr)
    return (
        Status.DONE if arguments.noautoconsole or not sys.stdin.isatty() else console.connect(manager, definition.name)
    )


def make(manager: Manager, arguments: argparse.Namespace, definition: Definition, disks: Disks, xml: str) -> None:
    """Disks, definition, machine: in this order, so that what is undone is all there is."""
    print("\nStarting install..." if not arguments.imports else "\nCreating domain...", file=sys.stderr)
    for disk in disks.missing():
        with ProgressBar(f"Allocating '{disk.path}'") as bar:
            disks.create(disk, bar)
    manager.domains.define(xml)
    if arguments.autostart:
        manager.domains.autostart(definition.name, on=True)
    manager.domains.start(definition.name, installing(definition, arguments))


def undo(manager: Manager, name: str, disks: Disks) -> None:
    """Nothing of a failed installation stays."""
    if any(each["name"] == name for each in manager.domains.all()):
        manager.domains.undefine(name)
    removed = [str(path) for path in disks.remove_created()]
    also = f", and {', '.join(removed)}" if removed else ""
    print(f"the machine's definition is removed{also}; the same command can be run again", file=sys.stderr)


def installing(definition: Definition, arguments: argparse.Namespace) -> str:
    """The first start's document: with `--noreboot` the machine stays off at the installer's end."""
    return document(replace(definition, on_reboot=Action.DESTROY) if arguments.noreboot else definition)


def document(definition: Definition) -> str:
    return normalised(write_xml(definition))


def wanted_disks(arguments: argparse.Namespace) -> list[DiskConfig]:
    wanted = [DiskConfig.parse(text) for text in arguments.disk if text != "none"]
    if not arguments.disk and not arguments.boot:
        raise ConfigError("no disk is given; write --disk path=FILE,size=GIB, or --disk none")
    if arguments.cdrom is not None:
        wanted.append(DiskConfig.cdrom(arguments.cdrom))
    return wanted


def define(arguments: argparse.Namespace, disks: list[DiskConfig]) -> Definition:
    """Raises `ConfigError` for what cannot be."""
    start = read_start(arguments)
    networks = [NetworkConfig.parse(text) for text in arguments.network if text != "none"]
    if not arguments.network:
        networks = [NetworkConfig(kind=NetworkKind.USER)]
    graphics = [GraphicsConfig.parse(text) for text in arguments.graphics or ["vnc"]]
    machine = MachineConfig(
        name=arguments.name,
        memory_mib=arguments.memory,
        vcpus=read_vcpus(arguments.vcpus),
        engine=ENGINES[arguments.virt_type],
        disks=tuple(disks),
        networks=tuple(networks),
        graphics=tuple(one for one in graphics if one.kind is not GraphicsKind.NONE),
        rng=True,
    )
    definition = Definition(
        name=arguments.name,
        title=arguments.title,
        description=arguments.description,
        machine=replace(machine, **start),  # type: ignore[arg-type]
        on_reboot=Action.RESTART,
    )
    return definition if arguments.uuid is None else replace(definition, uuid=read_uuid(arguments.uuid))


def read_vcpus(text: str) -> int:
    """How many. Sockets, cores and threads cannot be chosen here."""
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"vcpus is {text!r}; it must be a number")
    return int(text)


def read_start(arguments: argparse.Namespace) -> dict[str, object]:
    """How the machine starts: `--boot` as it is given, else from the disc as long as the disk cannot."""
    words = [word for word in arguments.boot.split(",") if word]
    pairs = dict(word.split("=", 1) for word in words if "=" in word)
    names = [word for word in words if "=" not in word]
    start: dict[str, object] = {}
    if "uefi" in names:
        names.remove("uefi")
        start["firmware"] = FirmwareConfig(kind=FirmwareKind.UEFI)
    kernel, initrd, append = (pairs.pop(key, None) for key in ("kernel", "initrd", "kernel_args"))
    menu = pairs.pop("menu", None)
    if pairs:
        raise ConfigError(
            f"--boot has an unknown key {next(iter(pairs))!r}; it knows kernel, initrd, kernel_args and menu"
        )
    if kernel is not None:
        return {"kernel": Path(kernel), "initrd": Path(initrd) if initrd else None, "append": append or ""}
    if names or menu is not None:
        start["boot"] = BootConfig.parse(",".join([*names, *([f"menu={menu}"] if menu else [])]))
    elif arguments.cdrom is not None and not arguments.imports:
        # A disk that holds nothing yet is passed over by firmware; once something is installed it comes first.
        start["boot"] = BootConfig(order=(BootDevice.HD, BootDevice.CDROM))
    elif not arguments.imports:
        raise ConfigError("nothing says what to install from; give --cdrom, --boot or --import")
    return start
