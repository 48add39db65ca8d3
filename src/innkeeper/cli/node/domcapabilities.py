"""`inn domcapabilities`: what a machine can have here."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--virttype", metavar="TYPE", help="of machines: kvm, qemu, bt, interp or auto")
    parser.add_argument("--arch", metavar="ARCH", help="x86_64")
    parser.add_argument("--machine", metavar="MACHINE", help="pc")


def execute(arguments: argparse.Namespace) -> int:
    node = common.manager(arguments).node
    print(node.domain_capabilities(arguments.virttype, arguments.arch, arguments.machine))
    return Status.DONE
