"""`inn blockcommit`: what images over another have is written into that, which makes a disk's chain shorter."""

from __future__ import annotations

import argparse

from innkeeper.cli.machines import blocking, common
from innkeeper.cli.parser import operand
from innkeeper.cli.status import Status
from innkeeper.cli.storage.common import say
from innkeeper.errors import ConfigError
from innkeeper.language import translate


def register(parser: argparse.ArgumentParser) -> None:
    blocking.disk(parser)
    operand(parser, "bandwidth", "at most so many MiB a second", required=False)
    operand(parser, "base", "the image to write into; the lowest, if none is given", required=False)
    operand(parser, "top", "the uppermost image of which that is; the one in use, if none is given", required=False)
    add = parser.add_argument
    add("--shallow", action="store_true", help="into the image directly below")
    add("--delete", action="store_true", help="remove the files that are needed no more")
    add(
        "--keep-relative",
        action="store_true",
        help="record the path of the image below from the folder of the one above",
    )
    add(
        "--active",
        action="store_true",
        help="of the image in use: the two are kept alike until it is said where it ends",
    )
    end = parser.add_mutually_exclusive_group().add_argument
    end("--pivot", action="store_true", help="--active --wait, and then the machine moves to the lower image")
    end("--keep-overlay", action="store_true", help="--active --wait, and then the machine stays on its image")
    blocking.waiting(parser)
    common.as_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    manager, name = common.manager(arguments), common.name_of(arguments)
    path, top = arguments.path, arguments.top
    base, limit = arguments.base, blocking.bandwidth(arguments)
    common_values = {"base": base, "top": top, "shallow": arguments.shallow, "delete": arguments.delete}
    waits = blocking.waits(arguments, "pivot", "keep_overlay")
    if arguments.keep_overlay and arguments.delete:
        raise ConfigError("--keep-overlay and --delete exclude each other: what is kept is not removed")
    blocks = manager.blocks
    if not blocking.runs(manager, name):
        work = blocks.commit_still(
            name, path, keep_overlay=arguments.keep_overlay, keep_relative=arguments.keep_relative, **common_values
        )
        say(arguments, "Commit complete", blocking.still(arguments, translate("Block commit"), work))
        return Status.DONE
    active = arguments.active or arguments.pivot or arguments.keep_overlay
    number = blocks.commit(
        name, path, active=active, keep_relative=arguments.keep_relative, bandwidth=limit, **common_values
    )
    if not waits:
        started = "Active Block Commit started" if active else "Block Commit started"
        say(arguments, started, blocking.begun(path, number))
        return Status.DONE
    title, aborted = translate("Block commit"), translate("Commit aborted")
    if not blocking.waited(arguments, name, number, title=title, aborted=aborted):
        return Status.MISTAKE
    if arguments.pivot:
        blocks.pivot(name, path)
        say(arguments, "Successfully pivoted", blocking.ended(path))
    elif arguments.keep_overlay:
        blocks.abort(name, path)
        say(arguments, "Commit complete, overlay image kept", blocking.ended(path))
    else:
        say(arguments, "Now in synchronized phase" if active else "Commit complete", blocking.ended(path))
    return Status.DONE
