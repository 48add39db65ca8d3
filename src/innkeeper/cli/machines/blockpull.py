"""`inn blockpull`: what lies below the image in use becomes part of it, which makes a disk's chain shorter."""

from __future__ import annotations

import argparse

from innkeeper.cli.machines import blocking, common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import say
from innkeeper.language import translate


def register(parser: argparse.ArgumentParser) -> None:
    blocking.disk(parser)
    operand(parser, "bandwidth", "at most so many MiB a second", required=False)
    operand(parser, "base", "the image that it lies over afterwards; none, if none is given", required=False)
    parser.add_argument(
        "--keep-relative",
        action="store_true",
        help="record the path of the image below from the folder of the one above",
    )
    blocking.waiting(parser)
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    manager, name, path = common.manager(arguments), common.name_of(arguments), arguments.path
    base, limit = arguments.base, blocking.bandwidth(arguments)
    waits = blocking.waits(arguments)
    if not blocking.runs(manager, name):
        work = manager.blocks.pull_still(name, path, base=base, keep_relative=arguments.keep_relative)
        say(arguments, "Pull complete", blocking.still(arguments, translate("Block Pull"), work))
        return Status.DONE
    number = manager.blocks.pull(name, path, base=base, keep_relative=arguments.keep_relative, bandwidth=limit)
    if not waits:
        say(arguments, "Block Pull started", blocking.begun(path, number))
        return Status.DONE
    title, aborted = translate("Block pull"), translate("Pull aborted")
    if not blocking.waited(arguments, name, number, title=title, aborted=aborted):
        return Status.MISTAKE
    say(arguments, "Pull complete", blocking.ended(path))
    return Status.DONE
