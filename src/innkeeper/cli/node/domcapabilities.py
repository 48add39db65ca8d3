"""`inn domcapabilities`: what a machine can have here."""

import argparse

from innkeeper.cli import results, xml_output
from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.errors import ConfigError

EMULATOR = "innkeeper"


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "virttype", "of machines: kvm, qemu, bt, interp or auto", required=False, metavar="TYPE")
    operand(parser, "emulatorbin", "innkeeper, which is no program of its own", required=False, metavar="PATH")
    operand(parser, "arch", "x86_64", required=False)
    operand(parser, "machine", "pc", required=False)
    parser.add_argument("--disable-deprecated-features", action="store_true", help="there are none")
    xml_output.options(parser)
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    if arguments.emulatorbin not in (None, EMULATOR):
        raise ConfigError(
            f"emulatorbin is {arguments.emulatorbin!r}; machines here need no other program: leave it out"
        )
    node = common.manager(arguments).node
    xml = node.domain_capabilities(arguments.virttype, arguments.arch, arguments.machine)
    xml = xml_output.chosen(arguments, xml)
    results.put(arguments, xml, {"xml": xml})
    return Status.DONE
