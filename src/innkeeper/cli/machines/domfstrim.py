"""`inn domfstrim`: has a guest's file systems give back the blocks that they do not use."""

import argparse

from innkeeper.cli.machines import common
from innkeeper.cli.parser import refuse
from innkeeper.cli.status import Status


def register(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    parser.add_argument("--minimum", type=int, default=0, metavar="BYTES", help="leave shorter ranges alone")
    common.as_json(parser)
    refuse(parser, {"--mountpoint PATH": "a guest's agent trims all file systems or none"})


def execute(arguments: argparse.Namespace) -> int:
    name = common.name_of(arguments)
    common.manager(arguments).agents.trim(name, arguments.minimum)
    if arguments.json:
        common.show_json({"name": name})
    return Status.DONE
