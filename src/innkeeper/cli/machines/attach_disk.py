"""`inn attach-disk`: gives a machine another disk."""

import argparse
from pathlib import Path

from innkeeper.cli.machines import changing, common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say
from innkeeper.errors import ConfigError

BUSES = {"vd": "virtio", "hd": "ide", "sd": "sata"}


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    changing.operand(parser, "source", "the image or block device")
    changing.operand(parser, "target", "what the disk is called, as in vdb")
    parser.add_argument("--targetbus", metavar="BUS", help="virtio, ide or sata; made of the target if it is not given")
    parser.add_argument("--driver", metavar="NAME", help="taken for virsh's sake")
    parser.add_argument(
        "--subdriver", metavar="FORMAT", help="raw or qcow2; a look at the image tells if it is not given"
    )
    parser.add_argument("--cache", metavar="MODE", help="writeback, writethrough, none, directsync or unsafe")
    parser.add_argument("--type", choices=("disk", "cdrom"), default="disk", help="what the guest takes it for")
    parser.add_argument("--mode", choices=("readonly",), help="the guest cannot write it")
    parser.add_argument("--sourcetype", choices=("file", "block"), help="what the source is")
    parser.add_argument("--serial", metavar="TEXT", help="what the guest reads as the disk's serial number")
    parser.add_argument("--print-xml", action="store_true", help="print the device's XML and change nothing")
    changing.flags(parser)


def execute(arguments: argparse.Namespace) -> int:
    xml = disk_of(arguments)
    if arguments.print_xml:
        print(xml)
        return Status.DONE
    common.manager(arguments).hardware.attach(common.name_of(arguments), xml, changing.flags_of(arguments))
    say("Disk attached successfully\n")
    return Status.DONE


def disk_of(arguments: argparse.Namespace) -> str:
    """Libvirt's XML of the disk. The machine's process works elsewhere, so the path is absolute."""
    source, target = Path(changing.word(arguments, "source")).absolute(), changing.word(arguments, "target")
    if not source.exists():
        raise ConfigError(f"there is no file {source}; inn image create makes one")
    kind = arguments.sourcetype or ("block" if source.is_block_device() else "file")
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
    return changing.element("disk", {"type": kind, "device": arguments.type}, *parts)
