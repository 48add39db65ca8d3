"""The options that mean something, as argparse knows them."""

import argparse
from pathlib import Path

from innkeeper.cli.installing import refused
from innkeeper.cli.machines import connection
from innkeeper.manager.domain_xml import ENGINES

Parser = argparse.ArgumentParser


def register(parser: Parser) -> None:
    general(parser)
    installation(parser)
    devices(parser)
    miscellaneous(parser)
    refused.register(parser)
    connection.register(parser)


def general(parser: Parser) -> None:
    add = parser.add_argument
    add("-n", "--name", help="what the machine is called")
    add("--memory", "--ram", "-r", default="1024", metavar="MIB", help="memory in MiB (default: %(default)s)")
    add("--vcpus", default="1", metavar="N[,maxvcpus=M]", help="virtual processors (default: %(default)s)")
    add("--vcpu", dest="vcpus", help=argparse.SUPPRESS)  # virt-install takes the beginnings of options
    add("--cpu", metavar="host-model", help="the processor: host-model or host-passthrough, which the engine decides")
    add("--virt-type", default="auto", choices=ENGINES, help="what runs it: auto takes the fastest that can (default)")
    add("--hvm", "-v", action="store_true", help="full virtualization: what every machine here has")
    add("--accelerate", action="store_true", help=argparse.SUPPRESS)  # what is done in any case
    add(
        "--os-variant", "--osinfo", dest="osinfo", metavar="NAME|detect=on,require=on", help="what will be installed; list"
        " lists names"
    )  # fmt: skip
    add("--os-type", help=argparse.SUPPRESS)  # as in virt-install: what --osinfo says is enough
    add("--metadata", metavar="title=…,uuid=…", help="name, uuid, title and description")
    add("--title", help="one line about the machine")
    add("--description", help="more lines about it")
    add("--uuid", "-u", help="by default one is made up")
    add("--events", metavar="on_reboot=…,on_poweroff=…", help="what follows when the guest ends: destroy or restart")
    add("--features", metavar="acpi=on,apic=on", help="what every machine here has")
    add("--clock", metavar="offset=utc", help="what every machine here has")


def installation(parser: Parser) -> None:
    add = parser.add_argument
    add("--cdrom", "-c", metavar="ISO", help="start from the installer's disc")
    add("--location", "-l", metavar="ISO|FOLDER[,kernel=…,initrd=…]", help="start the installer's kernel, found there")
    add("--extra-args", "-x", action="append", default=[], metavar="WORDS", help="for the kernel of --location")
    add(
        "--initrd-inject", action="append", type=Path, default=[], metavar="FILE", help="add a file to the root of its"
        " initial RAM disk"
    )  # fmt: skip
    add("--pxe", action="store_true", help="start from the network")
    add("--import", dest="imports", action="store_true", help="no installation: start from the first disk")
    add(
        "--install",
        metavar="kernel=…,initrd=…,kernel_args=…",
        help="how the first start differs: also bootdev, no_install",
    )
    add(
        "--boot",
        action="append",
        default=[],
        metavar="hd,cdrom,uefi,kernel=…,initrd=…,kernel_args=…",
        help="how it starts later",
    )
    add("--live", "--livecd", action="store_true", help=argparse.SUPPRESS)
    add("--reinstall", metavar="MACHINE", help="install once more on a machine that there is")
    add(
        "--unattended", nargs="?", const="", metavar="profile=…,admin-password-file=…", help="answer Debian's installer:"
        " also user-login, user-password-file"
    )  # fmt: skip
    add(
        "--cloud-init", nargs="?", const="", metavar="root-password-generate=on,…", help="a disc for cloud-init at the"
        " first start: also root-password-file, root-ssh-key, clouduser-ssh-key, user-data, meta-data, network-config, disable"
    )  # fmt: skip


def devices(parser: Parser) -> None:
    add = parser.add_argument
    add("--disk", action="append", default=[], metavar="path=…,size=…", help="a disk; none for a machine without")
    add("--nodisks", action="store_true", help=argparse.SUPPRESS)
    add("--network", "-w", action="append", default=[], metavar="bridge=…|user", help="a network card (default: user)")
    add("--nonetworks", action="store_true", help=argparse.SUPPRESS)
    add("--graphics", action="append", default=[], metavar="vnc,…|none", help="who may see the screen (default: vnc)")
    add("--vnc", action="store_true", help=argparse.SUPPRESS)
    add("--vncport", metavar="PORT", help=argparse.SUPPRESS)
    add("--vnclisten", metavar="ADDRESS", help=argparse.SUPPRESS)
    add("--nographics", action="store_true", help=argparse.SUPPRESS)
    add("--video", metavar="vga|virtio|none", help="the graphics card")
    add("--filesystem", action="append", default=[], metavar="DIR,TAG", help="a folder that the guest mounts by 9p")
    add(
        "--serial",
        action="append",
        default=[],
        metavar="pty|file,path=…|unix,path=…",
        help="where the serial port goes",
    )
    add("--console", action="append", default=[], metavar="pty,target.type=virtio", help="a console beside it")
    add(
        "--channel",
        action="append",
        default=[],
        metavar="unix,target.name=…|none",
        help="the guest agent's, which is there anyway",
    )
    add("--input", action="append", default=[], metavar="tablet|keyboard,bus=virtio", help="input beside PS/2")
    add("--rng", action="append", default=[], metavar="/dev/urandom|builtin|none", help="entropy (default: builtin)")
    add("--memballoon", metavar="virtio|none", help="whether memory goes back to the host (default: virtio)")
    add("--vsock", metavar="cid.auto=yes|cid.address=N", help="sockets between guest and host")


def miscellaneous(parser: Parser) -> None:
    add = parser.add_argument
    add("--autoconsole", metavar="text|graphical|none", help="what to connect to (default: text, at a terminal)")
    add("--noautoconsole", action="store_true", help="do not connect to a console")
    add("--wait", nargs="?", const=-1.0, type=float, metavar="MINUTES", help="until the installation has ended")
    add("--noreboot", action="store_true", help="leave the machine off when the installer has ended")
    add("--autostart", action="store_true", help="start it with the manager")
    add("--transient", action="store_true", help="forget the machine when it ends")
    add("--destroy-on-exit", action="store_true", help="end the machine when its console is left")
    add("--dry-run", action="store_true", help="make nothing")
    add(
        "--print-xml", nargs="?", const="all", metavar="STEP", help="show the machine's XML, and make nothing: of the"
        " installation (1), of the machine (2), or all"
    )  # fmt: skip
    add("--print-step", dest="print_xml", help=argparse.SUPPRESS)  # what it was called before
    add("--check", action="append", default=[], metavar="disk_size=off,…", help="also path_in_use, mac_in_use, all")
    add("--force", "--prompt", action="store_true", help=argparse.SUPPRESS)  # nothing is ever asked
    add("--quiet", "-q", action="store_true", help="errors only")
    add("--debug", "-d", action="store_true", help="say more")
