"""`inn attach-disk`: gives a machine another disk."""

import argparse
from pathlib import Path

from innkeeper.cli import results
from innkeeper.cli.machines import changing, common
from innkeeper.cli.parser import operand, refuse
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError

REFUSED = {
    "--iothread N": "each disk has a thread of its own",
    "--wwn TEXT": "disks here have a serial number, and no world wide name",
    "--rawio": "SCSI commands of a guest do not reach the host's disks",
    "--address ADDRESS": "where a device sits on its bus is up to the machine",
    "--multifunction": "each device is a function by itself",
    "--source-protocol NAME": "disks here are files and block devices; mount what is elsewhere first",
    "--source-host-name NAME": "disks here are files and block devices; mount what is elsewhere first",
    "--source-host-transport NAME": "disks here are files and block devices; mount what is elsewhere first",
    "--source-host-socket PATH": "disks here are files and block devices; mount what is elsewhere first",
    "--throttle-groups NAMES": "what a disk carries cannot be limited",
}
BUSES = {"vd": "virtio", "hd": "ide", "sd": "sata"}


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    operand(parser, "source", "the image or block device")
    operand(parser, "target", "what the disk is called, as in vdb")
    parser.add_argument("--targetbus", metavar="BUS", help="virtio, ide or sata; made of the target if it is not given")
    parser.add_argument("--driver", metavar="NAME", help="taken for virsh's sake")
    parser.add_argument(
        "--subdriver", metavar="FORMAT", help="raw or qcow2; a look at the image tells if it is not given"
    )
    parser.add_argument("--cache", metavar="MODE", help="writeback, writethrough, none, directsync or unsafe")
    parser.add_argument("--type", choices=("disk", "cdrom"), default="disk", help="what the guest takes it for")
    parser.add_argument("--mode", metavar="MODE", help="readonly: the guest cannot write it")
    parser.add_argument("--io", choices=("threads",), help="how its file is read, which is by threads")
    parser.add_argument("--alias", metavar="NAME", help="what its XML calls it")
    parser.add_argument("--sourcetype", choices=("file", "block"), help="what the source is")
    parser.add_argument("--serial", metavar="TEXT", help="what the guest reads as the disk's serial number")
    parser.add_argument("--print-xml", action="store_true", help="print the device's XML and change nothing")
    changing.flags(parser)
    refuse(parser, REFUSED)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    xml = disk_of(arguments)
    if arguments.print_xml:
        results.put(arguments, xml, {"xml": xml})
        return Status.DONE
    hardware = common.manager(arguments).hardware
    changed = hardware.attach(common.name_of(arguments), xml, changing.flags_of(arguments))
    results.say(arguments, "Disk attached successfully", changed)
    return Status.DONE


def disk_of(arguments: argparse.Namespace) -> str:
    """Libvirt's XML of the disk. The manager works elsewhere, so the path is absolute, and may see what this user cannot."""
    if arguments.mode not in (None, "readonly"):
        raise ConfigError(f"mode is {arguments.mode!r}; a disk is one machine's, so it can be readonly alone")
    source, target = Path(arguments.source).absolute(), arguments.target
    found = common.manager(arguments).node.kind(str(source))
    if found == "nothing":
        raise ConfigError(f"there is no file {source}; inn image create makes one")
    kind = arguments.sourcetype or ("block" if found == "block" else "file")
    driver = {"name": "innkeeper"}
    if arguments.subdriver is not None:
        driver["type"] = arguments.subdriver
    if arguments.cache is not None:
        driver["cache"] = arguments.cache
    bus = arguments.targetbus or BUSES.get(target[:2], "virtio")
    parts: list[tuple[str, changing.Attributes | str]] = [
        ("driver", driver),
        ("source", {"dev" if kind == "block" else "file": str(source)}),
        ("target", {"dev": target, "bus": bus}),
    ]
    if arguments.mode == "readonly":
        parts.append(("readonly", {}))
    if arguments.serial is not None:
        parts.append(("serial", arguments.serial))
    if arguments.alias is not None:
        parts.append(("alias", {"name": arguments.alias}))
    return changing.element("disk", {"type": kind, "device": arguments.type}, *parts)
