"""`inn define`: keeps a machine that a file describes, in libvirt's XML or in TOML."""

import argparse

from innkeeper.cli import documents, results
from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.cli.words import tell_unknown


def register(parser: argparse.ArgumentParser) -> None:
    operand(parser, "file", "libvirt's domain XML, or TOML as inn dumptoml shows it")
    parser.add_argument("--validate", action="store_true", help="it is always checked")
    results.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    defined = common.manager(arguments).domains.define(documents.read(arguments.file))
    tell_unknown(defined["unknown"])
    results.say(arguments, f"Domain '{defined['name']}' defined from {arguments.file}", defined)
    return Status.DONE
