"""`inn define`: keeps a machine that a file describes, in libvirt's XML or in TOML."""

import argparse
import sys
from pathlib import Path

from innkeeper.cli import documents
from innkeeper.cli.machines import common
from innkeeper.cli.status import Status
from innkeeper.cli.words import say


def register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="libvirt's domain XML, or TOML as inn dumptoml shows it"
    )


def execute(arguments: argparse.Namespace) -> int:
    defined = common.manager(arguments).domains.define(documents.read(arguments.file))
    if defined["unknown"]:
        say(f"kept, and without meaning here: {', '.join(defined['unknown'])}", file=sys.stderr)
    say(f"Domain '{defined['name']}' defined from {arguments.file}\n")
    return Status.DONE
